import { describe, expect, it } from "vitest";
import { withHeaders } from "../../src/http/request-headers.js";

const extra = { traceparent: "00-new" };

describe("withHeaders", () => {
  it.each([
    ["a record", { Accept: "a/b", TraceParent: "00-old" }],
    ["pairs in a row", ["Accept", "a/b", "TraceParent", "00-old"]],
    [
      "a Map",
      new Map([
        ["Accept", "a/b"],
        ["TraceParent", "00-old"],
      ]),
    ],
    ["nothing but the extra ones", null],
    ["nothing but the extra ones", undefined],
  ])("replaces headers of the same name, whatever their case: %s", (_, given) => {
    const merged = withHeaders(given as Parameters<typeof withHeaders>[0], extra);
    expect(merged).toEqual(given == null ? extra : { Accept: "a/b", ...extra });
  });

  it("takes Headers of the runtime, and keeps values that come more than once", () => {
    const headers = new Headers([
      ["accept", "a/b"],
      ["traceparent", "00-old"],
    ]);
    expect(withHeaders(headers as never, extra)).toEqual({ accept: "a/b", ...extra });
    expect(withHeaders(["x", "1", "x", "2", "x", "3"], {})).toEqual({ x: ["1", "2", "3"] });
    expect(withHeaders({ x: ["1", "2"] }, {})).toEqual({ x: ["1", "2"] });
  });

  it("removes a header", () => {
    expect(withHeaders({ "Content-Length": "5", Accept: "a/b" }, { "content-length": undefined })).toEqual({
      Accept: "a/b",
    });
  });

  it("does not change what was given", () => {
    const given = { Accept: "a/b" };
    withHeaders(given, extra);
    expect(given).toEqual({ Accept: "a/b" });
  });
});
