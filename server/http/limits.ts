// The bounds on what a request may carry. Values come from the configuration; these are the defaults.

export interface Limits {
  readonly bodyMaxBytes: number;
  /** For routes that take many operations at once. */
  readonly batchBodyMaxBytes: number;
  /** Of all unfinished requests and unread answers together. */
  readonly bodiesMaxBytes: number;
  readonly payloadMaxBytes: number;
  readonly resultMaxBytes: number;
  /** Encoded metadata of one intent. */
  readonly metadataMaxBytes: number;
  readonly jsonMaxDepth: number;
  readonly stepsMax: number;
  readonly batchMax: number;
  /** How long one operation of a batch may keep the others' answers waiting. */
  readonly batchPatienceMs: number;
  /** Intents that one bulk request acts on. */
  readonly bulkMax: number;
  /** Steps, agents and people of one scenario. */
  readonly scenarioStepsMax: number;
  /** Characters of names: intent types, sessions, consumers. */
  readonly nameMax: number;
  /** Characters of keys: steps, idempotency, state. */
  readonly keyMax: number;
  readonly textMax: number;
  /** Characters of one encoded path segment. */
  readonly pathSegmentMax: number;
  readonly pageMax: number;
  /** A page of a list ends here, whatever its limit says. */
  readonly pageMaxBytes: number;
  /** The request line and all headers. */
  readonly headersMaxBytes: number;
  readonly headersTimeoutMs: number;
  /** How long a request may take to arrive, body included. */
  readonly requestTimeoutMs: number;
  /** How long a connection is kept between two requests. */
  readonly idleTimeoutMs: number;
  /** How long nothing may move on a connection in the middle of a request or an answer. */
  readonly stallTimeoutMs: number;
  readonly connectionsMax: number;
  /** Requests without a valid key from one address before they are answered 429. */
  readonly wrongKeysBurst: number;
  /** Open streams and held answers of one key, or of one remote address where there are no keys. */
  readonly streamsPerClientMax: number;
  /** Intents that the streams of outcomes of one client watch in all. */
  readonly watchesPerClientMax: number;
  /** Agents that listen on one address. */
  readonly streamsPerAddressMax: number;
  readonly capacityMax: number;
  /** Checkpoints of one intent. */
  readonly checkpointsMax: number;
  /** Events of all intents that the feed keeps in memory. */
  readonly feedEventsMax: number;
  /** Intents that one request looks through for a text. */
  readonly searchMax: number;
  /** Intents that one request sorts in an order that has no index. */
  readonly sortMax: number;
  /** Intents that one request counts, the newest. */
  readonly countMax: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: Limits = Object.freeze({
  bodyMaxBytes: 2 * MIB,
  batchBodyMaxBytes: 16 * MIB,
  bodiesMaxBytes: 256 * MIB,
  payloadMaxBytes: MIB,
  resultMaxBytes: MIB,
  metadataMaxBytes: 16 * 1024,
  jsonMaxDepth: 64,
  stepsMax: 10_000,
  batchMax: 1_000,
  batchPatienceMs: 1_000,
  bulkMax: 5_000,
  scenarioStepsMax: 100,
  nameMax: 200,
  keyMax: 200,
  textMax: 2_000,
  // Three segments of 200 characters, each up to nine characters once percent-encoded, and the scheme.
  pathSegmentMax: 6_000,
  pageMax: 500,
  pageMaxBytes: 4 * MIB,
  headersMaxBytes: 16 * 1024,
  headersTimeoutMs: 30_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 72_000,
  stallTimeoutMs: 90_000,
  connectionsMax: 10_000,
  wrongKeysBurst: 100,
  streamsPerClientMax: 5_000,
  watchesPerClientMax: 100_000,
  streamsPerAddressMax: 1_000,
  capacityMax: 10_000,
  checkpointsMax: 1_000,
  feedEventsMax: 10_000,
  searchMax: 20_000,
  sortMax: 10_000,
  countMax: 200_000,
});
