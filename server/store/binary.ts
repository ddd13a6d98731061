// Encodes values for PostgreSQL in binary: whole columns as arrays, and values by themselves. Text arrays of payloads cost the
// database five times as much (every quote is escaped and parsed back); see docs/decisions.

export type PgType = "uuid" | "text" | "int4" | "int8" | "bool" | "timestamptz" | "json" | "jsonb";

const OID: { readonly [T in PgType]: number } = {
  uuid: 2950,
  text: 25,
  int4: 23,
  int8: 20,
  bool: 16,
  timestamptz: 1184,
  json: 114,
  jsonb: 3802,
};

/** Milliseconds between the Unix epoch and PostgreSQL's (2000-01-01). */
const PG_EPOCH_MS = 946_684_800_000;
const HEADER_BYTES = 20;
const EMPTY_BYTES = 12;
const FIXED_BYTES: { readonly [T in PgType]?: number } = {
  uuid: 16,
  int4: 4,
  int8: 8,
  bool: 1,
  timestamptz: 8,
};
/** UTF-8 takes at most so much for each of a string's units. */
const UTF8_MAX = 3;
const WORD = 0x1_0000_0000;
/** What a hexadecimal digit stands for, by its character code. */
const HEX = new Uint8Array(128);
[..."0123456789abcdef"].forEach((digit, value) => {
  for (const written of [digit, digit.toUpperCase()]) HEX[written.charCodeAt(0)] = value;
});

/** Columns are written here, one after the other, and copied out: nobody measures a text before it is written. */
let scratch = Buffer.allocUnsafeSlow(64 * 1024);
const SCRATCH_KEPT = 1024 * 1024;

function roomFor(from: number, bytes: number): void {
  if (from + bytes <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(scratch.length * 2, from + bytes));
  scratch.copy(larger, 0, 0, from);
  scratch = larger;
}

function writeUuid(text: string, offset: number): void {
  if (text.length !== 36) throw new TypeError(`${text} is no UUID`);
  for (let i = 0, at = offset; i < 36; i += 2) {
    if (text.charCodeAt(i) === 45) i += 1;
    scratch[at] = ((HEX[text.charCodeAt(i)] as number) << 4) | (HEX[text.charCodeAt(i + 1)] as number);
    at += 1;
  }
}

function writeInt64(value: number, offset: number): void {
  if (!Number.isSafeInteger(value)) {
    scratch.writeBigInt64BE(BigInt(value), offset);
    return;
  }
  const high = Math.floor(value / WORD);
  scratch.writeInt32BE(high, offset);
  scratch.writeUInt32BE(value - high * WORD, offset + 4);
}

const SHORT = 40;

/** Short ASCII, which most of it is, is written here; the way into Buffer costs more than that. */
function writeText(text: string, offset: number): number {
  const { length } = text;
  if (length <= SHORT) {
    let i = 0;
    for (; i < length; i += 1) {
      const code = text.charCodeAt(i);
      if (code > 127) break;
      scratch[offset + i] = code;
    }
    if (i === length) return offset + length;
  }
  return offset + scratch.write(text, offset);
}

/** The value alone; its end. */
function writeValue(type: PgType, value: unknown, offset: number): number {
  switch (type) {
    case "uuid":
      writeUuid(value as string, offset);
      return offset + 16;
    case "int4":
      return scratch.writeInt32BE(value as number, offset);
    case "int8":
      writeInt64(value as number, offset);
      return offset + 8;
    case "bool":
      scratch[offset] = value ? 1 : 0;
      return offset + 1;
    case "timestamptz":
      writeInt64((Math.trunc(value as number) - PG_EPOCH_MS) * 1000, offset);
      return offset + 8;
    case "jsonb":
      scratch[offset] = 1;
      return writeText(value as string, offset + 1);
    default:
      return writeText(value as string, offset);
  }
}

/** One column of a batch: times in epoch milliseconds, JSON as text, null for SQL null. */
export function encodeArray(type: PgType, values: readonly unknown[]): Buffer {
  return encodeColumn(type, values, same);
}

const same = (value: unknown): unknown => value;

/** One value that is a parameter by itself; the same bytes as within an array. */
export function encodeValue(type: PgType, value: unknown): Buffer | null {
  if (value === null || value === undefined) return null;
  roomFor(0, FIXED_BYTES[type] ?? 1 + (value as string).length * UTF8_MAX);
  const encoded = Buffer.from(scratch.subarray(0, writeValue(type, value, 0)));
  dropLargeScratch();
  return encoded;
}

/** The same over what `get` reads of each row. */
export function encodeColumn<Row>(type: PgType, rows: readonly Row[], get: (row: Row) => unknown): Buffer {
  const count = rows.length;
  const fixed = FIXED_BYTES[type];
  let hasNull = 0;
  let offset = count === 0 ? EMPTY_BYTES : HEADER_BYTES;
  roomFor(0, offset);
  for (const row of rows) {
    const value = get(row);
    const isNull = value === null || value === undefined;
    roomFor(offset, 5 + (isNull ? 0 : (fixed ?? (value as string).length * UTF8_MAX)));
    if (isNull) {
      hasNull = 1;
      offset = scratch.writeInt32BE(-1, offset);
      continue;
    }
    const end = writeValue(type, value, offset + 4);
    scratch.writeInt32BE(end - offset - 4, offset);
    offset = end;
  }
  scratch.writeInt32BE(count === 0 ? 0 : 1, 0);
  scratch.writeInt32BE(hasNull, 4);
  scratch.writeInt32BE(OID[type], 8);
  if (count > 0) {
    scratch.writeInt32BE(count, 12);
    scratch.writeInt32BE(1, 16);
  }
  const column = Buffer.from(scratch.subarray(0, offset));
  dropLargeScratch();
  return column;
}

function dropLargeScratch(): void {
  if (scratch.length > SCRATCH_KEPT) scratch = Buffer.allocUnsafeSlow(64 * 1024);
}

/** A text[] literal for one value, since arrays of arrays may not be ragged. */
export function textArrayLiteral(values: readonly string[]): string {
  if (values.length === 0) return "{}";
  return `{${values.map((value) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`).join(",")}}`;
}
