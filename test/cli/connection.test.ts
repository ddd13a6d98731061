// Which server a command talks to, with which key, and how one finds out: options, environment, profiles, doctor.
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectionOf, DEFAULT_URL } from "../../server/cli/connection.ts";
import { profilesFile } from "../../server/cli/profiles.ts";
import { runCli } from "../../server/cli/run.ts";
import { VERSION } from "../../server/version.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { openTerminal, type Ran } from "./terminal.ts";

const KEY = `pdr_${"a".repeat(49)}`;
const OTHER_KEY = `pdr_${"b".repeat(49)}`;

let home: string;
let file: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "perdure-profiles-"));
  file = join(home, "perdure", "profiles.json");
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function cli(argv: readonly string[], env: Record<string, string> = {}, stdin = ""): Promise<Ran> {
  const terminal = openTerminal({ XDG_CONFIG_HOME: home, ...env }, stdin);
  const exit = await runCli(argv, terminal.io);
  return { exit, out: terminal.out, err: terminal.err };
}

const setProfile = (name: string, url: string, key?: string) =>
  cli(["profiles", "set", name, url, ...(key === undefined ? [] : ["--api-key", "-"])], {}, key);

describe("profiles", () => {
  test("are made, listed, shown, changed and removed, and never show a key", async () => {
    expect(await cli(["profiles"])).toMatchObject({
      exit: 0,
      out: "",
      err: expect.stringContaining("no profiles"),
    });
    expect((await setProfile("staging", "https://staging.example.com", `${KEY}\n`)).out).toContain(
      `staging  made in ${file}`,
    );
    await setProfile("local", "http://127.0.0.1:7071");
    const listed = await cli(["profiles", "list"]);
    expect(listed.out).toMatch(/^staging +https:\/\/staging.example.com +pdr_…aaaa$/m);
    expect(listed.out).toMatch(/^local +http:\/\/127.0.0.1:7071$/m);
    expect(listed.out).not.toContain(KEY);
    expect((await cli(["profiles", "show", "staging"])).out).toMatch(/^url +https:\/\/staging/m);
    expect(JSON.parse((await cli(["profiles", "show", "staging", "--json"])).out)).toEqual({
      name: "staging",
      url: "https://staging.example.com",
      key: "pdr_…aaaa",
    });
    expect((await cli(["profiles", "remove", "staging"])).out).toBe("staging  removed\n");
    expect((await cli(["profiles", "remove", "staging"])).exit).toBe(1);
    expect((await cli(["profiles", "--json"])).out.trim().split("\n")).toHaveLength(1);
  });

  test("keep their keys where only their owner reads them, and say so when others can", async () => {
    await setProfile("staging", "http://127.0.0.1:1", KEY);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(home, "perdure"))).mode & 0o777).toBe(0o700);
    await chmod(file, 0o644);
    const ran = await cli(["list", "--profile", "staging"]);
    expect(ran.err).toContain(`others can read the keys in ${file}: chmod 600 ${file}`);
    await setProfile("local", "http://127.0.0.1:1");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test("take a key from stdin or a file, never from the command line", async () => {
    const inFile = join(home, "key");
    await writeFile(inFile, `${KEY}\n`);
    expect((await cli(["profiles", "set", "a", "http://a.test", "--api-key", `@${inFile}`])).exit).toBe(0);
    expect(await readFile(file, "utf8")).toContain(KEY);
    for (const source of [OTHER_KEY, "@/nowhere/key", "-"]) {
      const ran = await cli(["profiles", "set", "a", "http://a.test", "--api-key", source]);
      expect(ran, source).toMatchObject({ exit: 2, out: "", err: expect.stringContaining("--api-key") });
    }
    expect(await readFile(file, "utf8")).not.toContain(OTHER_KEY);
  });

  test("that move to another server leave the key of the old one behind", async () => {
    await setProfile("a", "http://a.test", KEY);
    expect((await cli(["profiles", "set", "a", "http://a.test"])).err).toBe("");
    expect(await readFile(file, "utf8")).toContain(KEY);
    expect((await cli(["profiles", "set", "a", "http://b.test"])).err).toContain("is removed");
    expect(await readFile(file, "utf8")).not.toContain(KEY);
  });

  test.each([
    ["{", /not JSON/],
    ["[]", /has no "profiles"/],
    ['{"profiles":{"a":1}}', /"a" is not an object/],
    ['{"profiles":{"a":{"url":7}}}', /"url" of "a" is not a text/],
  ])("in a file that holds %s are explained", async (text, why) => {
    await setProfile("a", "http://a.test");
    await writeFile(file, text);
    expect(await cli(["list", "--profile", "a"])).toMatchObject({ exit: 2, err: expect.stringMatching(why) });
    // Whoever needs no profile does not stumble over the file.
    const env = { PERDURE_URL: "http://127.0.0.1:1", PERDURE_API_KEY: "k" };
    expect((await cli(["list"], env)).exit).toBe(5);
  });

  test("need a home, and find it where the system has it", async () => {
    expect(profilesFile({})).toBeUndefined();
    expect(profilesFile({ HOME: "/h" }, "linux")).toBe(join("/h", ".config", "perdure", "profiles.json"));
    expect(profilesFile({ APPDATA: "/a" }, "win32")).toBe(join("/a", "perdure", "profiles.json"));
    const terminal = openTerminal();
    expect(await runCli(["profiles"], terminal.io)).toBe(2);
    expect(terminal.err).toContain("neither XDG_CONFIG_HOME nor HOME is set");
  });
});

describe("what is in force", () => {
  const inForce = (options: { url?: string; profile?: string }, env: Record<string, string> = {}) => {
    const { url, urlFrom, apiKey, keyFrom } = connectionOf({ XDG_CONFIG_HOME: home, ...env }, options);
    return { url, urlFrom, apiKey, keyFrom };
  };
  const ENV = { PERDURE_URL: "http://env.test/", PERDURE_API_KEY: "env-key" };

  beforeEach(async () => {
    await setProfile("prod", "http://prod.test", KEY);
    await setProfile("keyless", "http://keyless.test");
  });

  test("is the default where nobody says anything, and the profile called default before that", async () => {
    expect(inForce({})).toEqual({
      url: DEFAULT_URL,
      urlFrom: "the default",
      apiKey: undefined,
      keyFrom: undefined,
    });
    await setProfile("default", "http://usual.test", OTHER_KEY);
    expect(inForce({})).toEqual({
      ...{ url: "http://usual.test", urlFrom: "profile default" },
      ...{ apiKey: OTHER_KEY, keyFrom: "profile default" },
    });
  });

  test("is the environment's before a profile that the environment names", () => {
    expect(inForce({}, { PERDURE_PROFILE: "prod" })).toMatchObject({ url: "http://prod.test", apiKey: KEY });
    expect(inForce({}, { ...ENV, PERDURE_PROFILE: "prod" })).toEqual({
      ...{ url: "http://env.test", urlFrom: "PERDURE_URL" },
      ...{ apiKey: "env-key", keyFrom: "PERDURE_API_KEY" },
    });
  });

  test("is an option's before the environment's, be it a URL or the name of a profile", () => {
    expect(inForce({ profile: "prod" }, { ...ENV, PERDURE_PROFILE: "keyless" })).toEqual({
      ...{ url: "http://prod.test", urlFrom: "profile prod" },
      ...{ apiKey: KEY, keyFrom: "profile prod" },
    });
    expect(inForce({ url: "http://flag.test" }, ENV)).toMatchObject({
      url: "http://flag.test",
      urlFrom: "--url",
    });
    expect(inForce({ url: "http://flag.test", profile: "prod" })).toMatchObject({ url: "http://flag.test" });
    expect(inForce({ profile: "keyless" }, ENV)).toMatchObject({
      url: "http://keyless.test",
      apiKey: "env-key",
    });
  });

  test("never sends a stored key to another server than the one it was stored for", async () => {
    expect(inForce({ url: "http://evil.test", profile: "prod" }).apiKey).toBeUndefined();
    const env = { PERDURE_URL: "http://evil.test", PERDURE_PROFILE: "prod" };
    expect(inForce({}, env).apiKey).toBeUndefined();
    expect(inForce({ url: "http://prod.test/", profile: "prod" }).apiKey).toBe(KEY);
    const ran = await cli(["list", "--url", "http://127.0.0.1:1", "--profile", "prod"]);
    expect(ran.err).toContain("the key of profile prod is for http://prod.test: it is not sent to");
  });

  test("cannot be a profile that is not there", async () => {
    const ran = await cli(["list"], { PERDURE_PROFILE: "prd", PERDURE_URL: "http://127.0.0.1:1" });
    expect(ran).toMatchObject({ exit: 2, out: "" });
    expect(ran.err).toContain('there is no profile "prd"; there are prod, keyless');
    const json = await cli(["list", "--profile", "prd", "--json"]);
    expect(JSON.parse(json.err)).toMatchObject({ ok: false, code: "usage" });
  });
});

test("the server gets the key of the profile, and nothing where there is none", async () => {
  const seen: unknown[] = [];
  const stub: Server = createServer((request, response) => {
    seen.push(request.headers["x-api-key"]);
    response.end('{"intents":[]}');
  });
  await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(stub.address() as AddressInfo).port}`;
  try {
    await setProfile("here", url, KEY);
    await cli(["list", "--profile", "here"]);
    await cli(["list"], { PERDURE_URL: url });
    expect(seen).toEqual([KEY, undefined]);
  } finally {
    await new Promise((resolve) => stub.close(resolve));
  }
});

describe("doctor", () => {
  let keyed: TestServer;
  let open: TestServer;
  beforeAll(async () => {
    [keyed, open] = await Promise.all([startKeyedServer(), startTestServer()]);
  });
  afterAll(async () => {
    await Promise.all([keyed.close(), open.close()]);
  });
  const states = (out: string) =>
    Object.fromEntries(
      JSON.parse(out).findings.map(({ name, state }: { name: string; state: string }) => [name, state]),
    );

  test("tells where URL and key are from, and what the key may", async () => {
    const { text } = await issueKey(keyed, "acme/prod/web", ["send", "read"]);
    await setProfile("here", keyed.url, text);
    const ran = await cli(["doctor", "--profile", "here"]);
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toMatch(new RegExp(`^ok +url +${keyed.url} \\(profile here\\)$`, "m"));
    expect(ran.out).toMatch(/^ok +key +pdr_….{4} \(profile here\)$/m);
    expect(ran.out).toMatch(/^ok +database +answers/m);
    expect(ran.out).toMatch(/^ok +access +agent:\/\/acme\/prod\/web, may send, read; stands for/m);
    expect(ran.out).toMatch(/^ok +clock /m);
    expect(ran.out).not.toContain(text);
    // The server of the test calls itself another version.
    expect(ran.out).toMatch(
      new RegExp(`^warning +server +Perdure 0.0.0-test.*command line of ${VERSION}`, "m"),
    );
  });

  test("with --json is one object for programs", async () => {
    const { out } = await cli(["doctor", "--json"], { PERDURE_URL: open.url });
    expect(JSON.parse(out)).toMatchObject({
      ...{
        ok: true,
        url: open.url,
        url_from: "PERDURE_URL",
        key_from: null,
        profile: null,
        version: VERSION,
      },
    });
    expect(states(out)).toEqual({
      ...{ url: "ok", key: "ok", server: "warning", database: "ok", access: "ok", clock: "ok" },
    });
    expect(out).toContain("development mode");
  });

  test("exits with 3 for a wrong key or none, and says what to do", async () => {
    const none = await cli(["doctor"], { PERDURE_URL: keyed.url });
    expect(none.exit).toBe(3);
    expect(none.out).toMatch(
      /^failed +access .*set PERDURE_API_KEY, or store one with: perdure profiles set/m,
    );
    const wrong = await cli(["doctor", "--json"], { PERDURE_URL: keyed.url, PERDURE_API_KEY: KEY });
    expect(wrong.exit).toBe(3);
    expect(states(wrong.out)).toMatchObject({ database: "ok", access: "failed" });
    expect(wrong.out).toContain("mistyped or cut off");
  });

  test("exits with 5 where nothing answers, or something else does", async () => {
    const ran = await cli(["doctor", "--url", "http://127.0.0.1:1"]);
    expect(ran).toMatchObject({ exit: 5, out: expect.stringMatching(/^failed +server +cannot reach/m) });
    const stub = createServer((_request, response) => response.end('{"name":"nginx"}'));
    await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
    const { port } = stub.address() as AddressInfo;
    const other = await cli(["doctor", "--url", `http://127.0.0.1:${port}`]);
    await new Promise((resolve) => stub.close(resolve));
    expect(other).toMatchObject({ exit: 5, out: expect.stringMatching(/^failed +server +is not Perdure$/m) });
  });

  test("says by how much the clocks differ", async () => {
    const stub = createServer(({ url }, response) => {
      const at = new Date(Date.now() + 90_000).toISOString();
      const caller = { address: "a", scopes: [], patterns: [], key_id: null, keys_required: false };
      response.end(JSON.stringify(url === "/v1/me" ? { at, caller } : { name: "perdure", version: VERSION }));
    });
    await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
    const { port } = stub.address() as AddressInfo;
    const ran = await cli(["doctor", "--url", `http://127.0.0.1:${port}`]);
    await new Promise((resolve) => stub.close(resolve));
    expect(ran).toMatchObject({
      exit: 0,
      out: expect.stringMatching(/^warning +clock +\d+[sm] behind the database/m),
    });
  });
});

describe("a key that is wrong or missing", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startKeyedServer();
  });
  afterAll(() => server.close());

  test("exits with 3, says where it is from, and what to do", async () => {
    const none = await cli(["list"], { PERDURE_URL: server.url });
    expect(none).toMatchObject({ exit: 3, out: "" });
    expect(none.err).toContain(
      "no key was sent: set PERDURE_API_KEY, or store one with: perdure profiles set",
    );
    await setProfile("here", server.url, KEY);
    const wrong = await cli(["list", "--profile", "here"]);
    expect(wrong).toMatchObject({ exit: 3, out: "" });
    expect(wrong.err).toContain("(the key is from profile here; perdure doctor tells more)");
    const { text } = await issueKey(server, "acme/prod/sender", ["send"]);
    const narrow = await cli(["list"], { PERDURE_URL: server.url, PERDURE_API_KEY: text });
    expect(narrow).toMatchObject({ exit: 3, out: "" });
    expect(narrow.err).toMatch(/scope read.*\(the key is from PERDURE_API_KEY\)/);
  });
});
