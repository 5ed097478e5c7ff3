import { Readable } from "node:stream";
import { FormData as UndiciFormData } from "undici";
import { describe, expect, it } from "vitest";
import { type AttemptBody, isFormBody, requestBody } from "../../src/http/request-body.js";

const LIMIT = 10;
const CHUNKS = ["abc", "defg"];
const WHOLE = "abcdefg";

/** Reads the body of an attempt to its end, or so many chunks of it. */
async function read(body: AttemptBody, chunks = Number.POSITIVE_INFINITY): Promise<string> {
  let text = "";
  let taken = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
    taken += 1;
    if (taken >= chunks) break;
  }
  return text;
}

/** A source that notes what is done to it. */
function source(chunks: readonly unknown[], log: string[] = []): AsyncIterable<Uint8Array> & { log: string[] } {
  async function* make(): AsyncGenerator<unknown> {
    try {
      for (const chunk of chunks) {
        log.push("read");
        if (chunk instanceof Error) throw chunk;
        yield chunk;
      }
      log.push("end");
    } finally {
      log.push("closed");
    }
  }
  return Object.assign(make() as AsyncGenerator<Uint8Array>, { log });
}

describe("a body that is there as a whole", () => {
  const bytes = new TextEncoder().encode(WHOLE);
  const blob = new Blob([WHOLE]);

  it.each([
    ["a string", WHOLE, WHOLE],
    ["bytes", bytes, bytes],
    ["a Blob", blob, blob],
    ["URLSearchParams", new URLSearchParams({ a: "b c" }), "a=b+c"],
    ["nothing", null, null],
    ["nothing", undefined, null],
  ])("is sent again as it is: %s", (_, given, expected) => {
    const body = requestBody(given, undefined, LIMIT);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(body.canReplay()).toBe(true);
      expect(body.open()).toEqual(expected);
    }
  });

  it("FormData of the runtime is encoded as undici's own, which alone undici knows", () => {
    const form = new FormData();
    form.append("name", "value");
    form.append("file", new Blob(["x"]), "x.txt");
    const opened = requestBody(form, undefined, LIMIT).open();
    expect(opened).toBeInstanceOf(UndiciFormData);
    expect(isFormBody(opened)).toBe(true);
    expect([...(opened as unknown as FormData)].map(([name]) => name)).toEqual(["name", "file"]);
    expect(isFormBody("text")).toBe(false);
  });

  it("comes from its better form from the second attempt on", () => {
    const body = requestBody("first", "again", LIMIT);
    expect([body.open(), body.open(), body.open()]).toEqual(["first", "again", "again"]);
  });
});

describe("a body that a function makes", () => {
  it("is made for each attempt", async () => {
    let made = 0;
    const body = requestBody(
      () => {
        made += 1;
        return source([`body ${made}`]);
      },
      undefined,
      LIMIT,
    );
    expect(await read(body.open())).toBe("body 1");
    expect(await read(body.open())).toBe("body 2");
    expect(body.canReplay()).toBe(true);
  });

  it.each([
    ["a promise", async () => WHOLE],
    ["a promise that rejects", () => Promise.reject(new Error("disk"))],
  ])("must not be %s of the body", async (_, make) => {
    const refusal = expect.objectContaining({
      code: "ERR_ONEHOP_CONFIG",
      message: expect.stringMatching(/returned a promise.*await/),
    });
    expect(() => requestBody(make, undefined, LIMIT).open()).toThrow(refusal);
    const later = requestBody(WHOLE, make, LIMIT);
    expect(later.open()).toBe(WHOLE);
    expect(() => later.open()).toThrow(refusal);
    // A rejection that nobody handles would fail the run.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it("may be none, and throws what the function throws", () => {
    expect(requestBody(() => undefined, undefined, LIMIT).open()).toBeNull();
    const own = new Error("no such file");
    const failing = (): never => {
      throw own;
    };
    expect(() => requestBody(failing, undefined, LIMIT).open()).toThrow(own);
  });

  it("tells that it failed, and with what", async () => {
    const own = new Error("disk");
    const body = requestBody(() => source(["a", own]), undefined, LIMIT);
    await expect(read(body.open())).rejects.toBe(own);
    expect(body.sourceError).toBe(own);
  });
});

describe("T-01: a body that can be read once", () => {
  it.each([
    ["an async iterable", () => source(CHUNKS)],
    ["an iterable", () => CHUNKS],
    ["a stream of Node", () => Readable.from(CHUNKS)],
    ["a stream of the web", () => new Blob(CHUNKS).stream()],
  ])("is sent whole at each attempt: %s", async (_, make) => {
    const body = requestBody(make(), undefined, LIMIT);
    expect(await read(body.open())).toBe(WHOLE);
    expect(await read(body.open())).toBe(WHOLE);
    expect(body.canReplay()).toBe(true);
  });

  it("is sent whole after an attempt that took a part of it, or nothing", async () => {
    const given = source(CHUNKS);
    const body = requestBody(given, undefined, LIMIT);
    expect(await read(body.open(), 1)).toBe("abc");
    body.open();
    expect(await read(body.open())).toBe(WHOLE);
    expect(given.log, "the source was read once").toEqual(["read", "read", "end", "closed"]);
  });

  it("cannot be sent again once more than the limit was read", async () => {
    const body = requestBody(source(["12345", "67890", "1"]), undefined, LIMIT);
    const reading = body.open() as AsyncGenerator<Uint8Array>;
    await reading.next();
    await reading.next();
    expect(body.canReplay(), "just the limit is kept").toBe(true);
    await reading.next();
    expect(body.canReplay()).toBe(false);
    expect(() => body.open()).toThrow(expect.objectContaining({ code: "ERR_ONEHOP_BODY_NOT_REPLAYABLE" }));
  });

  it("cannot be sent again once a first chunk over the limit was taken", async () => {
    const body = requestBody(source(["12345678901", "2"]), undefined, LIMIT);
    await (body.open() as AsyncGenerator<Uint8Array>).next();
    expect(body.canReplay()).toBe(false);
    expect(() => body.open()).toThrow(expect.objectContaining({ code: "ERR_ONEHOP_BODY_NOT_REPLAYABLE" }));
  });

  it("is taken from the old attempt when a retry is decided: nothing is read or dropped in the pause", async () => {
    const given = source(["12345", "67890", "1", "2"]);
    const body = requestBody(given, undefined, LIMIT);
    const old = body.open() as AsyncGenerator<Uint8Array>;
    await old.next();
    await old.next();
    body.rewind();
    await expect(old.next()).rejects.toThrow("a later attempt");
    expect(given.log).toEqual(["read", "read"]);
    expect(body.canReplay()).toBe(true);
    expect(await read(body.open())).toBe("123456789012");
    expect(body.canReplay()).toBe(false);
  });

  it("is whole at each of three attempts, whatever was under way when a retry was decided", async () => {
    const body = requestBody(source(["12345", "67890", "1", "2"]), undefined, LIMIT);
    for (const taken of [1, 2]) {
      const old = body.open() as AsyncGenerator<Uint8Array>;
      for (let chunk = 0; chunk < taken; chunk += 1) await old.next();
      // The old attempt waits for its next chunk, the second time for that which crosses the limit.
      const waiting = old.next();
      body.rewind();
      await expect(waiting).rejects.toThrow("a later attempt");
      await expect(old.next()).resolves.toEqual({ done: true, value: undefined });
      expect(body.canReplay()).toBe(true);
    }
    expect(await read(body.open())).toBe("123456789012");
  });

  it("may be rewound before it is read, after its end, and after the end of the call", async () => {
    const body = requestBody(source(CHUNKS), undefined, LIMIT);
    body.rewind();
    expect(await read(body.open())).toBe(WHOLE);
    body.rewind();
    expect(await read(body.open())).toBe(WHOLE);
    body.close();
    body.rewind();
    expect(() => requestBody(WHOLE, undefined, LIMIT).rewind()).not.toThrow();
  });

  it("that fails in the pause before a retry is not sent as if it were complete", async () => {
    const own = new Error("disk");
    const body = requestBody(source(["abc", own]), undefined, LIMIT);
    const old = body.open() as AsyncGenerator<Uint8Array>;
    await old.next();
    const waiting = old.next();
    body.rewind();
    await expect(waiting).rejects.toBe(own);
    expect(body.canReplay()).toBe(false);
    expect(() => body.open()).toThrow(own);
  });

  it("that fails without a reason fails with an error", async () => {
    const stream = new ReadableStream({ start: (controller) => controller.error() });
    for (const body of [requestBody(stream, undefined, LIMIT), requestBody(() => stream, undefined, LIMIT)]) {
      await expect(read(body.open())).rejects.toThrow("without a reason");
      expect(body.sourceError).toBeInstanceOf(Error);
    }
  });

  it("is sent to its end however long it is", async () => {
    const many = Array.from({ length: 1_000 }, (_, index) => `${index},`);
    const body = requestBody(source(many), undefined, LIMIT);
    expect(await read(body.open())).toBe(many.join(""));
    expect(body.canReplay()).toBe(false);
  });

  it("with a limit of 0 is sent once, and may be sent again while nothing was read", async () => {
    const body = requestBody(source(CHUNKS), undefined, 0);
    body.open();
    expect(body.canReplay()).toBe(true);
    expect(await read(body.open())).toBe(WHOLE);
    expect(body.canReplay()).toBe(false);
  });

  it("ends the reading of an attempt that was given up with an error, never as if it were complete", async () => {
    const body = requestBody(source(CHUNKS), undefined, LIMIT);
    const first = body.open() as AsyncGenerator<Uint8Array>;
    await first.next();
    const second = body.open();
    await expect(first.next()).rejects.toThrow("a later attempt");
    expect(await read(second)).toBe(WHOLE);
  });

  it("hands a chunk that two attempts wait for to the one that counts", async () => {
    let give: (chunk: string) => void = () => undefined;
    const waiting = {
      async *[Symbol.asyncIterator]() {
        yield await new Promise<string>((resolve) => {
          give = resolve;
        });
      },
    };
    const body = requestBody(waiting, undefined, LIMIT);
    const first = (body.open() as AsyncGenerator<Uint8Array>).next();
    const second = read(body.open());
    await Promise.resolve();
    give("late");
    await expect(first).rejects.toThrow("a later attempt");
    expect(await second).toBe("late");
  });

  it("tells that the source failed, and is not sent again then", async () => {
    const own = new Error("disk");
    const body = requestBody(source(["abc", own]), undefined, LIMIT);
    await expect(read(body.open())).rejects.toBe(own);
    expect([body.sourceError, body.canReplay()]).toEqual([own, false]);
  });

  it.each([[5], [{}], [null], [new ArrayBuffer(2)]])("refuses a chunk without bytes: %o", async (chunk) => {
    const body = requestBody(source([chunk]), undefined, LIMIT);
    await expect(read(body.open())).rejects.toThrow(TypeError);
    expect(body.canReplay()).toBe(false);
  });

  it("survives a stream that fails before anybody reads it", async () => {
    const stream = new Readable({ read() {} });
    const body = requestBody(stream, undefined, LIMIT);
    const own = new Error("disk");
    stream.destroy(own);
    await new Promise((resolve) => setImmediate(resolve));
    expect([body.sourceError, body.canReplay()]).toEqual([own, false]);
    expect(() => body.open()).toThrow(own);
  });
});

describe("the end of the call", () => {
  it("lets a source go that was not read to its end", async () => {
    const given = source(CHUNKS);
    const body = requestBody(given, undefined, LIMIT);
    const reading = body.open() as AsyncGenerator<Uint8Array>;
    await reading.next();
    body.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(given.log).toEqual(["read", "closed"]);
    await expect(reading.next()).rejects.toThrow("the call is over");
  });

  it("lets a stream go that nobody began to read", async () => {
    const node = new Readable({ read() {} });
    requestBody(node, undefined, LIMIT).close();
    expect(node.destroyed).toBe(true);
    const cancelled: unknown[] = [];
    const web = new ReadableStream({ cancel: (reason) => void cancelled.push(reason) });
    requestBody(web, undefined, LIMIT).close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(cancelled).toHaveLength(1);
  });

  it("leaves alone what was read to its end, and what was made by the caller as a whole", async () => {
    const given = source(CHUNKS);
    const body = requestBody(given, undefined, LIMIT);
    await read(body.open());
    body.close();
    body.close();
    expect(given.log).toEqual(["read", "read", "end", "closed"]);
    expect(() => requestBody("text", undefined, LIMIT).close()).not.toThrow();
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("clean-up");
      },
    ],
    ["rejects", () => Promise.reject(new Error("clean-up"))],
  ])("does not care for a clean-up that %s", async (_, fails) => {
    const given = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined), return: fails }),
    };
    const body = requestBody(given, undefined, LIMIT);
    expect(() => body.close()).not.toThrow();
    // A rejection that nobody handles would fail the run.
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("a function that makes the body", () => {
  it("T-01: that gives the same stream again is told so, instead of sending what is left of it", async () => {
    const stream = Readable.from(["abc"]);
    const body = requestBody(stream, () => stream, LIMIT);
    expect(await read(body.open())).toBe("abc");
    expect(() => body.open()).toThrow(
      expect.objectContaining({ code: "ERR_ONEHOP_BODY_NOT_REPLAYABLE", message: expect.stringContaining("new one") }),
    );
  });
});
