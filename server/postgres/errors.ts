// Owns the ways the embedded PostgreSQL can refuse to start. Callers branch on `code`, never on the text;
// the text is for the person at the terminal and says what to do next.

export type EmbeddedPostgresErrorCode =
  | "data_directory_in_use"
  | "data_directory_unusable"
  | "data_directory_version"
  | "postgres_missing"
  | "postgres_start_failed";

export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresErrorCode;

  constructor(code: EmbeddedPostgresErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "EmbeddedPostgresError";
    this.code = code;
  }
}

/** The system's error code (ENOENT) or PostgreSQL's SQLSTATE (57P03) of a thrown value, if it has one. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}
