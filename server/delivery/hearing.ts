// Proves that notifications still arrive: says one to itself now and then, and expects to hear it. A connection that was lost without a
// word, and one that a pooler shares among its clients, look well and are deaf.

export interface HearingOptions {
  readonly everyMs: number;
  /** Says something that `heard` is called for once it arrives. */
  readonly say: () => Promise<void>;
  /** Nothing arrived; only the first time in a row is there anything to tell. */
  readonly onDeaf: (error?: Error) => void;
}

export class Hearing {
  readonly #options: HearingOptions;
  #timer: NodeJS.Timeout | undefined;
  #heard = true;
  #told = false;

  constructor(options: HearingOptions) {
    this.#options = options;
  }

  start(): void {
    this.stop();
    this.#say();
    this.#timer = setInterval(() => {
      if (this.#heard) this.#say();
      else this.#giveUp();
    }, this.#options.everyMs).unref();
  }

  heard(): void {
    this.#heard = true;
    this.#told = false;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #say(): void {
    this.#heard = false;
    // A database that is away is told of elsewhere; here it is one more reason not to have heard.
    this.#options.say().catch(() => undefined);
  }

  #giveUp(): void {
    this.stop();
    this.#options.onDeaf(this.#told ? undefined : new Error(DEAF));
    this.#told = true;
  }
}

const DEAF =
  "notifications of other servers do not arrive: their connection was lost without a word, or a pooler shares it (PgBouncer in " +
  "transaction mode). Until they do, what others changed is found by polling; PERDURE_NOTIFY=off does without them";
