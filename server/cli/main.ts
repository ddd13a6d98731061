// Owns the process of the CLI. Must not contain anything a test would want to call: that is run.ts.
import { processIo } from "./io.ts";
import { runCli } from "./run.ts";

// `perdure list | head` closes our stdout early: an ordinary way to end.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const exit = await runCli(process.argv.slice(2), processIo(process));
// Only after what was written has left: a pipe may be slow, and ending the process now would cut the output short.
process.stdout.write("", () => process.stderr.write("", () => process.exit(exit)));
