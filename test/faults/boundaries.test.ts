// Agents killed by `kill -9` at every boundary of a step, once and twice in a row, for each of the three ways to use steps:
// what is done never acts again, and what is in doubt acts again at most once per kill, under the same idempotency key.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventsOf, send, view } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { compiled } from "../support/programs.ts";
import { until } from "../support/server.ts";
import { endAll, freePort, type Process, startProgram, startServer } from "./processes.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/perdure.js", import.meta.url));
const AGENT = compiled("test/faults/fixtures/boundary-agent.ts");
const BOUNDARIES = ["before begin", "during", "after done", "before complete"] as const;
const KILLS = [1, 2] as const;
const CASES = BOUNDARIES.flatMap((boundary) => KILLS.map((kills) => ({ boundary, kills })));
type Case = (typeof CASES)[number];
type Kind = "declared" | "wrapped" | "exec";

let database: TestDatabase;
let at: { url: string };
let server: Process;
beforeAll(async () => {
  database = await createTestDatabase();
  const port = await freePort();
  at = { url: `http://127.0.0.1:${port}` };
  server = await startServer(database.url, port);
});
afterAll(async () => {
  await endAll();
  await database.drop({ openConnections: "close" });
});

/** Where the steps leave their ledgers, and where a shell finds `perdure` and what it needs. */
function openDesk(): string {
  const desk = mkdtempSync(join(tmpdir(), "perdure-boundaries-"));
  const write = (name: string, text: string) => {
    writeFileSync(join(desk, name), text);
    chmodSync(join(desk, name), 0o755);
  };
  write("perdure", `#!/bin/sh\nexec "${process.execPath}" "${PROGRAM}" "$@"\n`);
  // Holds, for a bounded time, until it is killed or told to go on.
  write(
    "at",
    `at() {
      case "$input" in
        *"\\"boundary\\":\\"$1\\",\\"kills\\":"[$RUN-9]*) ;;
        *) return 0 ;;
      esac
      echo "$PERDURE_INTENT_ID" >> "$DESK/holding-$RUN"
      n=0
      while [ ! -e "$DESK/go-$RUN" ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done
    }\n`,
  );
  write(
    "work",
    `#!/bin/sh
    input=$(cat)
    . "$DESK/at"
    echo "$1 $PERDURE_IDEMPOTENCY_KEY $RUN" >> "$DESK/$PERDURE_INTENT_ID"
    if [ "$1" = b ]; then at during; fi
    echo "$1"\n`,
  );
  return desk;
}

const SCRIPT = `set -e
  echo $$ >> "$DESK/groups"
  input=$(cat)
  . "$DESK/at"
  at "before begin"
  perdure exec --step a -- "$DESK/work" a > "$DESK/out"
  perdure exec --step b -- "$DESK/work" b > "$DESK/out"
  at "after done"
  perdure exec --step c -- "$DESK/work" c > "$DESK/out"
  at "before complete"
  echo c`;

const linesOf = (desk: string, name: string): string[] => {
  try {
    return readFileSync(join(desk, name), "utf8").trim().split("\n");
  } catch {
    return [];
  }
};

function startAgent(kind: Kind, desk: string, run: number): Process {
  const env = { DESK: desk, RUN: String(run) };
  return kind === "exec"
    ? startProgram([PROGRAM, "listen", kind, "--capacity", "16", "--exec", SCRIPT], {
        ...env,
        PATH: `${desk}:${process.env.PATH}`,
        PERDURE_URL: at.url,
      })
    : startProgram([AGENT], {
        ...env,
        KIND: kind,
        AGENT_ADDRESS: kind,
        SERVER_URL: at.url,
      });
}

/** The agent, and whatever of its commands would go on without it. */
async function kill(agent: Process, desk: string): Promise<void> {
  agent.kill("SIGKILL");
  await agent.over;
  for (const group of linesOf(desk, "groups")) {
    try {
      process.kill(-Number(group), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

const sendCase = (kind: Kind, one: Case): Promise<string> =>
  send(at, kind, { payload: one, ...(kind === "declared" ? { steps: ["a", "b", "c"] } : {}) });

const completed = (id: string) =>
  until("it is completed", async () => (await view(at, id)).status === "COMPLETED");
const holds = (desk: string, run: number, ids: readonly string[]) =>
  until(`${ids.length} intents are held in run ${run}`, () =>
    ids.every((id) => linesOf(desk, `holding-${run}`).includes(id)),
  );

describe.each<Kind>(["declared", "wrapped", "exec"])("%s steps:", (kind) => {
  const ids = new Map<Case, string>();
  let desk: string;

  // One agent works on all the cases at once, and dies for all of them.
  beforeAll(async () => {
    desk = openDesk();
    for (const one of CASES) ids.set(one, await sendCase(kind, one));
    for (const run of [1, 2, 3]) {
      const agent = startAgent(kind, desk, run);
      const [held, free] = [true, false].map((doomed) =>
        CASES.filter(({ kills }) => kills >= run === doomed).map((one) => ids.get(one) ?? ""),
      ) as [string[], string[]];
      await holds(desk, run, held);
      // No further kill is theirs.
      for (const id of free) await completed(id);
      if (held.length > 0) await kill(agent, desk);
    }
  });
  afterAll(async () => {
    await endAll(server);
    rmSync(desk, { recursive: true, force: true });
  });

  test.each(CASES)("killed $boundary, $kills times", async (one) => {
    const id = ids.get(one) ?? "";
    expect(await view(at, id)).toMatchObject({ status: "COMPLETED", result: "c" });
    const events = await eventsOf(at, id);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    const of = (type: string, key?: string) =>
      events.filter(
        (event) => event.event_type === `intent.${type}` && (key === undefined || event.details.key === key),
      );
    expect(of("lost")).toHaveLength(one.kills);
    expect(of("step_done").map((event) => event.details.key)).toEqual(["a", "b", "c"]);

    const inDoubt =
      one.boundary === "during"
        ? "b"
        : one.boundary === "before complete" && kind === "declared"
          ? "c"
          : undefined;
    const acts = linesOf(desk, id).map((line) => line.split(" "));
    for (const key of ["a", "b", "c"]) {
      const mine = acts.filter(([step]) => step === key);
      expect(mine, `what ${key} did`).toHaveLength(key === inDoubt ? one.kills + 1 : 1);
      expect(new Set(mine.map(([, used]) => used)).size, `the keys of ${key}`).toBe(1);
    }
    if (inDoubt === undefined) return;
    expect(of("step_interrupted", inDoubt)).toHaveLength(one.kills);
    expect(of("step_running", inDoubt).map((event) => event.details.interrupted === true)).toEqual([
      false,
      ...Array.from({ length: one.kills }, () => true),
    ]);
  });
});

describe("a command that outlives its agent", () => {
  let desk: string;
  beforeEach(() => {
    desk = openDesk();
  });
  afterEach(async () => {
    await endAll(server);
    rmSync(desk, { recursive: true, force: true });
  });

  test("records nothing over the next one's work, and begins no further step", async () => {
    const id = await sendCase("exec", { boundary: "during", kills: 1 });
    const first = startAgent("exec", desk, 1);
    await holds(desk, 1, [id]);
    first.kill("SIGKILL");
    await first.over;
    startAgent("exec", desk, 2);
    await completed(id);
    const before = (await eventsOf(at, id)).filter((event) => event.event_type === "intent.step_done");
    const [group = ""] = linesOf(desk, "groups");
    writeFileSync(join(desk, "go-1"), "");
    await until("the command of the first has ended", () => !isAlive(-Number(group)));
    const after = (await eventsOf(at, id)).filter((event) => event.event_type === "intent.step_done");
    expect(after).toEqual(before);
    expect(linesOf(desk, id).map((line) => line.split(" ")[0])).toEqual(["a", "b", "b", "c"]);
    expect((await view(at, id)).result).toBe("c");
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
