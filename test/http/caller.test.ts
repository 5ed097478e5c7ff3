import { PassThrough } from "node:stream";
import type { Dispatcher } from "undici";
import { describe, expect, it } from "vitest";
import { asCaller } from "../../src/http/caller.js";

const raw = (...headers: readonly string[]): Buffer[] => headers.map((text) => Buffer.from(text, "latin1"));

describe("a caller of the callback style", () => {
  it("T-56: is taken as it is", () => {
    const handler = { onConnect() {}, onHeaders: () => true, onData: () => true, onComplete() {}, onError() {} };
    expect(asCaller(handler as unknown as Dispatcher.DispatchHandler)).toBe(handler);
  });
});

describe("a caller of the controller style", () => {
  const started = () => {
    const log: unknown[] = [];
    const aborts: unknown[] = [];
    let controller: Dispatcher.DispatchController | undefined;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(given) {
        controller = given;
      },
      onResponseStart: (_, status, headers, text) => void log.push(["start", status, headers, text]),
      onResponseData: (_, chunk) => void log.push(["data", chunk.toString()]),
      onResponseEnd: (_, trailers) => void log.push(["end", trailers]),
      onResponseError: (_, error) => void log.push(["error", error]),
      onRequestUpgrade: (_, status, headers, socket) => void log.push(["upgrade", status, headers, socket]),
    };
    const caller = asCaller(handler);
    caller.onConnect((reason) => aborts.push(reason));
    if (controller === undefined) throw new Error("onRequestStart was not called");
    return { caller, controller, log, aborts };
  };

  it("T-56: gets headers parsed and raw, data, trailers", () => {
    const { caller, controller, log } = started();
    const headers = raw("Content-Type", "text/plain", "set-cookie", "a=1", "set-cookie", "b=2");
    expect(caller.onHeaders(200, headers, () => undefined, "OK")).toBe(true);
    expect(controller.rawHeaders).toBe(headers);
    expect(caller.onData(Buffer.from("body"))).toBe(true);
    caller.onComplete(["x-checksum", "abc"]);
    expect(controller.rawTrailers).toEqual(["x-checksum", "abc"]);
    expect(log).toEqual([
      ["start", 200, { "content-type": "text/plain", "set-cookie": ["a=1", "b=2"] }, "OK"],
      ["data", "body"],
      ["end", { "x-checksum": "abc" }],
    ]);
  });

  it("gets no trailers as none", () => {
    const { caller, log } = started();
    caller.onComplete(null);
    expect(log).toEqual([["end", {}]]);
  });

  it("pauses and resumes, each once", () => {
    const { caller, controller } = started();
    let resumed = 0;
    const resume = (): void => {
      resumed += 1;
    };
    caller.onHeaders(200, [], resume, "OK");
    controller.resume();
    expect(resumed, "it was not paused").toBe(0);
    controller.pause();
    expect([controller.paused, caller.onData(Buffer.from("x"))]).toEqual([true, false]);
    controller.resume();
    controller.resume();
    expect([controller.paused, resumed, caller.onData(Buffer.from("y"))]).toEqual([false, 1, true]);
  });

  it("that pauses at the headers gets no data before it resumes", () => {
    const { caller, controller } = started();
    controller.pause();
    expect(caller.onHeaders(200, [], () => undefined, "OK")).toBe(false);
  });

  it("aborts once, with its reason", () => {
    const { controller, aborts } = started();
    const reason = new Error("enough");
    controller.abort(reason);
    controller.abort(new Error("again"));
    expect(aborts).toEqual([reason]);
    expect([controller.aborted, controller.reason]).toEqual([true, reason]);
  });

  it("gets errors unchanged, and upgrades", () => {
    const { caller, log } = started();
    const error = new Error("reset");
    caller.onError(error);
    const socket = new PassThrough();
    caller.onUpgrade?.(101, raw("upgrade", "websocket"), socket);
    expect(log).toEqual([
      ["error", error],
      ["upgrade", 101, { upgrade: "websocket" }, socket],
    ]);
    expect((log[0] as unknown[])[1]).toBe(error);
  });

  it("may leave out what it does not need", () => {
    const caller = asCaller({ onRequestStart() {} });
    caller.onConnect(() => undefined);
    expect(caller.onHeaders(200, [], () => undefined, "OK")).toBe(true);
    expect(caller.onData(Buffer.from("x"))).toBe(true);
    caller.onComplete(null);
    caller.onError(new Error("x"));
  });
});
