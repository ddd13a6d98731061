// The SSE parser against the WHATWG rules, whatever the chunks look like.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SseMessage, SseParser } from "../../sdk/src/sse.ts";

function parse(...chunks: string[]): SseMessage[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

describe("SseParser", () => {
  it("reads event, data and id", () => {
    expect(parse('id: 7\nevent: intent.delivered\ndata: {"a":1}\n\n')).toEqual([
      { id: "7", event: "intent.delivered", data: '{"a":1}' },
    ]);
  });

  it("joins several data lines and takes off one leading space only", () => {
    expect(parse("data: a\ndata:  b\ndata:c\ndata\n\n")).toEqual([
      { id: "", event: "message", data: "a\n b\nc\n" },
    ]);
  });

  it("treats CR, LF and CRLF alike, also cut between CR and LF", () => {
    const expected = [
      { id: "", event: "message", data: "a" },
      { id: "", event: "message", data: "b" },
    ];
    for (const end of ["\n", "\r\n", "\r"])
      expect(parse(`data: a${end}${end}data: b${end}${end}`)).toEqual(expected);
    expect(parse("data: a\r", "\n\r", "\ndata: b\r\n\r\n")).toEqual(expected);
  });

  it("takes no keep-alive comment for an event, with or without a blank line, between fields or alone", () => {
    expect(parse(":\n:\n", "event: x\n:\ndata: 1\n:hello\n\n:\n", ":\n\n")).toEqual([
      { id: "", event: "x", data: "1" },
    ]);
  });

  it("drops an event without data and forgets its name", () => {
    expect(parse("event: ghost\n\ndata: 1\n\n")).toEqual([{ id: "", event: "message", data: "1" }]);
  });

  it("ignores a byte order mark at the beginning only, unknown fields, and ids with NUL", () => {
    expect(parse("\uFEFFdata: 1\n\n", "id: a\0b\nnonsense: 2\ndata: \uFEFF3\n\n")).toEqual([
      { id: "", event: "message", data: "1" },
      { id: "", event: "message", data: "\uFEFF3" },
    ]);
  });

  it("keeps the last id for later messages and reads retry", () => {
    const parser = new SseParser();
    expect(
      parser.push("retry: 250\nid: 4\ndata: a\n\ndata: b\n\nretry: x\n").map((message) => message.id),
    ).toEqual(["4", "4"]);
    expect(parser.retryMs).toBe(250);
  });

  it("waits for the blank line: a message cut off by the stream's end is none", () => {
    expect(parse("data: whole\n\ndata: half\n")).toHaveLength(1);
  });

  it("answers the same however the text is cut", () => {
    const line = fc.constantFrom(
      "data: x",
      "data:y z",
      "event: e",
      "id: 1",
      ":",
      ": c",
      "",
      "data",
      "other: 1",
    );
    const end = fc.constantFrom("\n", "\r\n", "\r");
    const stream = fc
      .array(fc.tuple(line, end).map(([text, stop]) => text + stop))
      .map((lines) => lines.join(""));
    fc.assert(
      fc.property(stream, fc.array(fc.nat(40)), (text, cuts) => {
        const chunks: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(text.slice(at, at + cut));
          at += cut;
        }
        chunks.push(text.slice(at));
        expect(parse(...chunks)).toEqual(parse(text));
      }),
      { numRuns: 300 },
    );
  });
});
