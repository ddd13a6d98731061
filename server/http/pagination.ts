// Opaque page cursors. A cursor is where the last page ended, named after its list; clients may only hand it back.

import { z } from "zod";
import { invalid } from "../errors.ts";

const VERSION = 1;

/** The last millisecond that JavaScript's and PostgreSQL's times can both say. */
export const INSTANT_MAX = 8_640_000_000_000_000;

export interface CursorCodec<T> {
  encode(position: T): string;
  /** 422 for anything this list did not issue. */
  decode(cursor: string): T;
}

/** A codec for the list called `name`, whose positions have the shape `position`. */
export function cursorCodec<T>(name: string, position: z.ZodType<T>): CursorCodec<T> {
  const envelope = z.tuple([z.literal(VERSION), z.literal(name), position]);
  return {
    encode: (value) => Buffer.from(JSON.stringify([VERSION, name, value]), "utf8").toString("base64url"),
    decode: (cursor) => {
      let decoded: unknown;
      try {
        decoded = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
      } catch {
        decoded = undefined;
      }
      const result = envelope.safeParse(decoded);
      // Text with NUL in it was never stored, and PostgreSQL does not take it.
      if (!result.success || JSON.stringify(decoded).includes("\\u0000"))
        throw invalid("?cursor", "this cursor was not issued for this list; start again without it");
      return result.data[2] as T;
    },
  };
}

export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next_cursor: string | null;
}

/** Cuts `limit + 1` fetched rows into a page: the surplus row only proves that there is more. */
export function pageOf<Row, T>(
  fetched: readonly Row[],
  limit: number,
  codec: CursorCodec<T>,
  position: (row: Row) => T,
): Page<Row> {
  if (fetched.length <= limit) return { rows: fetched, next_cursor: null };
  const rows = fetched.slice(0, limit);
  return { rows, next_cursor: codec.encode(position(rows[limit - 1] as Row)) };
}
