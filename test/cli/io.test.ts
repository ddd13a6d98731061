// When there are colours and drawings: at a terminal that can, and where nobody has asked for none.
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { processIo } from "../../server/cli/io.ts";
import { runCli } from "../../server/cli/run.ts";

/** A process whose stdout or stderr is a terminal or not; `text` is what it has written. */
function processWith(env: NodeJS.ProcessEnv, tty: { out: boolean; err: boolean }) {
  const written: Buffer[] = [];
  const stream = (isTTY: boolean) => {
    const through = Object.assign(new PassThrough(), { isTTY, rows: isTTY ? 50 : undefined });
    through.on("data", (chunk: Buffer) => written.push(chunk));
    return through as unknown as NodeJS.WriteStream;
  };
  const stdin = new PassThrough() as unknown as NodeJS.ReadStream & { fd: 0 };
  const io = processIo({
    ...{ env, stdin, on: process.on, off: process.off },
    stdout: stream(tty.out) as NodeJS.WriteStream & { fd: 1 },
    stderr: stream(tty.err) as NodeJS.WriteStream & { fd: 2 },
  });
  return { io, text: () => Buffer.concat(written).toString("utf8") };
}

test.each([
  [{}, { out: true, err: true }, { out: true, err: true }, { out: true, err: true }],
  [{}, { out: false, err: true }, { out: false, err: true }, { out: false, err: true }],
  [{ NO_COLOR: "1" }, { out: true, err: true }, { out: false, err: false }, { out: true, err: true }],
  [{ NO_COLOR: "" }, { out: true, err: false }, { out: true, err: false }, { out: true, err: false }],
  [{ TERM: "dumb" }, { out: true, err: true }, { out: false, err: false }, { out: false, err: false }],
])("with %j at %j colours are for %j, drawings for %j", (env, tty, colour, terminal) => {
  const { io } = processWith(env, tty);
  expect({ colour: io.colour, terminal: io.terminal }).toEqual({ colour, terminal });
});

test("an error is red at a terminal, and plain with NO_COLOR or in a pipe", async () => {
  const errorAt = async (env: NodeJS.ProcessEnv, isTty: boolean) => {
    const { io, text } = processWith(
      { ...env, PERDURE_URL: "http://127.0.0.1:1" },
      { out: isTty, err: isTty },
    );
    expect(await runCli(["list"], io)).toBe(5);
    return text();
  };
  expect(await errorAt({}, true)).toContain("\u001b[31merror:\u001b[39m cannot reach");
  expect(await errorAt({ NO_COLOR: "1" }, true)).toMatch(/^error: cannot reach/);
  expect(await errorAt({}, false)).toMatch(/^error: cannot reach/);
});

test("a terminal says how many lines it has, and one that does not has 24", () => {
  expect(processWith({}, { out: true, err: true }).io.rows()).toBe(50);
  expect(processWith({}, { out: false, err: false }).io.rows()).toBe(24);
});
