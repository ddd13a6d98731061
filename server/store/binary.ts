// Encodes columns of values as binary PostgreSQL arrays. Text arrays of payloads cost the database five times as
// much (every quote is escaped and parsed back); see docs/decisions.

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
const FIXED_BYTES: { readonly [T in PgType]?: number } = {
  uuid: 16,
  int4: 4,
  int8: 8,
  bool: 1,
  timestamptz: 8,
};

function bodyBytes(type: PgType, value: unknown): number {
  const fixed = FIXED_BYTES[type];
  if (fixed !== undefined) return fixed;
  return Buffer.byteLength(value as string) + (type === "jsonb" ? 1 : 0);
}

function writeValue(buffer: Buffer, offset: number, type: PgType, value: unknown): number {
  switch (type) {
    case "uuid": {
      const hex = (value as string).replaceAll("-", "");
      return offset + buffer.write(hex, offset, 16, "hex");
    }
    case "int4":
      return buffer.writeInt32BE(value as number, offset);
    case "int8":
      return buffer.writeBigInt64BE(BigInt(value as number), offset);
    case "bool":
      return buffer.writeUInt8(value ? 1 : 0, offset);
    case "timestamptz":
      return buffer.writeBigInt64BE(BigInt(Math.trunc(value as number) - PG_EPOCH_MS) * 1000n, offset);
    case "jsonb":
      buffer.writeUInt8(1, offset);
      return offset + 1 + buffer.write(value as string, offset + 1);
    default:
      return offset + buffer.write(value as string, offset);
  }
}

/** One column of a batch: times in epoch milliseconds, JSON as text, null for SQL null. */
export function encodeArray(type: PgType, values: readonly unknown[]): Buffer {
  let size = HEADER_BYTES;
  let hasNull = 0;
  for (const value of values) {
    size += 4;
    if (value === null || value === undefined) hasNull = 1;
    else size += bodyBytes(type, value);
  }
  const buffer = Buffer.allocUnsafe(values.length === 0 ? 12 : size);
  buffer.writeInt32BE(values.length === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(hasNull, 4);
  buffer.writeInt32BE(OID[type], 8);
  if (values.length === 0) return buffer;
  buffer.writeInt32BE(values.length, 12);
  buffer.writeInt32BE(1, 16);
  let offset = HEADER_BYTES;
  for (const value of values) {
    if (value === null || value === undefined) {
      offset = buffer.writeInt32BE(-1, offset);
      continue;
    }
    const end = writeValue(buffer, offset + 4, type, value);
    buffer.writeInt32BE(end - offset - 4, offset);
    offset = end;
  }
  return buffer;
}

/** A text[] literal for one value, since arrays of arrays may not be ragged. */
export function textArrayLiteral(values: readonly string[]): string {
  if (values.length === 0) return "{}";
  return `{${values.map((value) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`).join(",")}}`;
}
