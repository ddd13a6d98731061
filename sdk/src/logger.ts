// Owns: where the SDK's few log lines go. Must not: format anything else.

export type Logger = Pick<Console, "debug" | "info" | "warn" | "error">;

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** `false` is silence; nothing is the console, without its debug lines. */
export function resolveLogger(logger: Logger | false | undefined): Logger {
  if (logger === false) return silent;
  if (logger !== undefined) return logger;
  return {
    debug() {},
    info: (...args) => console.info(...args),
    warn: (...args) => console.warn(...args),
    error: (...args) => console.error(...args),
  };
}
