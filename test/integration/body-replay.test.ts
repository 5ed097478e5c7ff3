import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { request as undiciRequest } from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BodyFactory, Mesh, MeshRequestOptions } from "../../src/index.js";
import {
  AMPLE_BUDGET,
  meshOver,
  onehopErrorOf,
  pause,
  rejectionOf,
  SERVICE,
  URL_OF_SERVICE,
} from "../support/mesh-over-pods.js";
import { type PodAnswer, type PodBehaviour, type PodHost, podSpecs, startPods } from "../support/pods.js";

// More than the buffers of a socket, so that half of it can be read before the rest is written.
const BYTES = randomBytes(3_000_000);
const TEXT = BYTES.toString("base64");
const REPLAY_LIMIT_BYTES = 100_000;

/** How the first attempt ends. The first 64 KiB count as half where the length is not announced. */
const FIRST_ATTEMPTS: readonly PodBehaviour[] = [
  { kind: "half", halfBytes: 65_536 },
  { kind: "destroy-half", halfBytes: 65_536 },
  { kind: "destroy" },
];

let host: PodHost;
let mesh: Mesh;

beforeAll(async () => {
  host = await startPods(podSpecs("replay", 11, 2));
});
beforeEach(() => {
  const retry = { budget: AMPLE_BUDGET, replayLimitBytes: REPLAY_LIMIT_BYTES };
  // The first of the choices there are, so that a test knows which pod is met first.
  ({ mesh } = meshOver({ home: host.pods }, { services: { [SERVICE]: { retry } }, random: () => 0 }));
});
afterEach(async () => {
  await mesh.close();
  await host.reset();
});
afterAll(() => host.stop());

function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

async function* chunksOf(data: Uint8Array, size = 16_384): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

function formOf(): FormData {
  const form = new FormData();
  form.set("name", "quotes & co");
  form.set("file", new Blob([BYTES]), "bytes.bin");
  return form;
}

/** The bytes of the form's file as the pod got them, by the `content-type` that the pod got. */
async function fileOf(answer: PodAnswer): Promise<{ readonly name: unknown; readonly sha256: string }> {
  const raw = Buffer.from(answer.raw ?? "", "base64");
  const form = await new Response(raw, { headers: { "content-type": answer.type ?? "" } }).formData();
  return { name: form.get("name"), sha256: sha256(new Uint8Array(await (form.get("file") as Blob).arrayBuffer())) };
}

interface BodyCase {
  readonly name: string;
  readonly make: () => unknown;
  readonly expected: Uint8Array | string;
}

const IN_MEMORY: readonly BodyCase[] = [
  { name: "a string", make: () => TEXT, expected: TEXT },
  { name: "a Buffer", make: () => BYTES, expected: BYTES },
  {
    name: "a typed array with an offset",
    make: () => new Uint8Array(BYTES.buffer, BYTES.byteOffset + 1_000, 2_000_000),
    expected: BYTES.subarray(1_000, 2_001_000),
  },
  {
    name: "a Uint16Array",
    make: () => new Uint16Array(Uint8Array.from(BYTES).buffer),
    expected: BYTES,
  },
  { name: "an ArrayBuffer", make: () => Uint8Array.from(BYTES).buffer, expected: BYTES },
  {
    name: "URLSearchParams",
    make: () => new URLSearchParams({ text: TEXT, more: "a b&c" }),
    expected: new URLSearchParams({ text: TEXT, more: "a b&c" }).toString(),
  },
  { name: "a Blob", make: () => new Blob([BYTES]), expected: BYTES },
];

const FACTORIES: readonly BodyCase[] = [
  { name: "a function that makes a string", make: () => () => TEXT, expected: TEXT },
  { name: "a function that makes a generator", make: () => () => chunksOf(BYTES), expected: BYTES },
  {
    name: "a function that makes URLSearchParams",
    make: () => () => new URLSearchParams({ text: TEXT }),
    expected: new URLSearchParams({ text: TEXT }).toString(),
  },
  { name: "a function that makes an ArrayBuffer", make: () => () => Uint8Array.from(BYTES).buffer, expected: BYTES },
];

const WEB_STREAM: BodyCase = {
  name: "a function that makes a ReadableStream",
  make: () => () => new Blob([BYTES]).stream(),
  expected: BYTES,
};
const NODE_STREAM: BodyCase = {
  name: "a function that makes a Readable",
  make: () => () => Readable.from(chunksOf(BYTES)),
  expected: BYTES,
};

type Send = (body: unknown) => Promise<PodAnswer>;

const byFetch: Send = async (body) => {
  const response = await mesh.fetch(URL_OF_SERVICE, { method: "PUT", body: body as BodyFactory });
  expect(response.status).toBe(200);
  return (await response.json()) as PodAnswer;
};
const byRequest: Send = async (body) => {
  const response = await mesh.request(URL_OF_SERVICE, { method: "PUT", body: body as MeshRequestOptions["body"] });
  expect(response.statusCode).toBe(200);
  return (await response.body.json()) as PodAnswer;
};
const byDispatcher: Send = async (body) => {
  const options = { method: "PUT", body: body as Readable, dispatcher: mesh.dispatcher } as const;
  const response = await undiciRequest(URL_OF_SERVICE, options);
  expect(response.statusCode).toBe(200);
  return (await response.body.json()) as PodAnswer;
};

const CALLERS: readonly { readonly name: string; readonly send: Send; readonly cases: readonly BodyCase[] }[] = [
  { name: "mesh.fetch", send: byFetch, cases: [...IN_MEMORY, ...FACTORIES, WEB_STREAM] },
  { name: "mesh.request", send: byRequest, cases: [...IN_MEMORY, ...FACTORIES, WEB_STREAM, NODE_STREAM] },
  { name: "undici.request over mesh.dispatcher", send: byDispatcher, cases: IN_MEMORY },
];

for (const { name: caller, send, cases } of CALLERS) {
  describe(`T-01: a body is whole in each attempt, by ${caller}`, () => {
    for (const { name, make, expected } of cases) {
      it(`T-01: ${name}`, async () => {
        for (const first of FIRST_ATTEMPTS) {
          await host.reset();
          await host.next(first);
          const answer = await send(make());
          expect({ after: first.kind, sha256: answer.sha256 }).toEqual({ after: first.kind, sha256: sha256(expected) });
          expect(await host.requests()).toHaveLength(2);
        }
      });
    }

    it("T-01: FormData, with the boundary that its header names", async () => {
      await host.next({ kind: "half" }, { echo: true });
      const answer = await send(formOf());
      expect(await fileOf(answer)).toEqual({ name: "quotes & co", sha256: sha256(BYTES) });
      expect(await host.requests()).toHaveLength(2);
    });

    it("T-01: a one-shot stream below the limit", async () => {
      const small = BYTES.subarray(0, REPLAY_LIMIT_BYTES);
      for (const first of [{ kind: "half", halfBytes: 1 }, { kind: "destroy" }] as const) {
        await host.reset();
        await host.next(first);
        const isFetch = caller === "mesh.fetch";
        const answer = isFetch
          ? await fetchStream(new Blob([small]).stream())
          : await send(Readable.from(chunksOf(small)));
        expect(answer.sha256).toBe(sha256(small));
        expect(await host.requests()).toHaveLength(2);
      }
    });
  });
}

async function fetchStream(body: ReadableStream): Promise<PodAnswer> {
  const response = await mesh.fetch(URL_OF_SERVICE, { method: "PUT", body, duplex: "half" });
  expect(response.status).toBe(200);
  return (await response.json()) as PodAnswer;
}

describe("T-01: a factory of FormData", () => {
  for (const [name, send] of [
    ["mesh.fetch", byFetch],
    ["mesh.request", byRequest],
  ] as const) {
    it(`T-01: each attempt's header names the boundary of its own body, by ${name}`, async () => {
      await host.next({ kind: "half" }, { echo: true });
      const answer = await send(() => formOf());
      expect(await fileOf(answer)).toEqual({ name: "quotes & co", sha256: sha256(BYTES) });
      expect(await host.requests()).toHaveLength(2);
    });
  }

  it("T-01: is called once for each attempt", async () => {
    for (const send of [byFetch, byRequest]) {
      let made = 0;
      await host.next({ status: 503 }, { status: 502 });
      await send(() => {
        made += 1;
        return `body ${made}`;
      });
      expect(made).toBe(3);
    }
  });

  it("T-01: what the function throws at the second attempt ends the call, and reaches the caller", async () => {
    for (const isFetch of [true, false]) {
      let made = 0;
      const body = (): string => {
        made += 1;
        if (made === 2) throw new RangeError("no more bodies");
        return "first body";
      };
      await host.reset();
      await host.next({ status: 503 });
      const call = isFetch
        ? mesh.fetch(URL_OF_SERVICE, { method: "PUT", body })
        : mesh.request(URL_OF_SERVICE, { method: "PUT", body });
      const error = (await rejectionOf(call)) as Error;
      expect(isFetch ? error.cause : error).toEqual(new RangeError("no more bodies"));
      expect(await host.requests()).toHaveLength(1);
    }
  });
});

describe("T-01: a function that returns a promise of the body", () => {
  for (const [name, call] of [
    ["mesh.fetch", (body: unknown) => mesh.fetch(URL_OF_SERVICE, { method: "PUT", body: body as BodyFactory })],
    ["mesh.request", (body: unknown) => mesh.request(URL_OF_SERVICE, { method: "PUT", body: body as () => string })],
  ] as const) {
    it(`T-01: is refused before any I/O, by ${name}`, async () => {
      for (const body of [async () => "abc", () => Promise.reject(new Error("disk"))]) {
        const error = await onehopErrorOf(call(body));
        expect([error.code, error.message]).toEqual(["ERR_ONEHOP_CONFIG", expect.stringContaining("promise")]);
      }
      expect(await host.requests()).toEqual([]);
    });

    it(`T-01: is refused at a second attempt, by ${name}`, async () => {
      let made = 0;
      await host.next({ status: 503 });
      const error = await onehopErrorOf(
        call(() => {
          made += 1;
          return made === 1 ? "abc" : Promise.resolve("abc");
        }),
      );
      expect(error.code).toBe("ERR_ONEHOP_CONFIG");
      expect(await host.requests()).toHaveLength(1);
    });
  }
});

describe("T-01: a one-shot stream that is still being sent when a retry is decided", () => {
  const LIMIT_BYTES = 65_536;
  const body = BYTES.subarray(0, 240_000);
  /** 503 headers, of a response that never ends, while the pod goes on reading. */
  const unfinished503: PodBehaviour = { kind: "half", halfBytes: 20_000, headers: { "content-length": "100000" } };
  let retries: Promise<void>;

  beforeEach(() => {
    const retry = { budget: AMPLE_BUDGET, replayLimitBytes: LIMIT_BYTES, backoff: { baseMs: 60, capMs: 60 } };
    ({ mesh } = meshOver({ home: host.pods }, { services: { [SERVICE]: { retry } }, random: () => 0.99 }));
    retries = new Promise((resolve) => mesh.once("retry", () => resolve()));
  });

  async function* paced(data: Uint8Array, pauseMs: number): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunksOf(data, 20_000)) {
      yield chunk;
      await pause(pauseMs);
    }
  }

  /** What the caller is told: `whole` when a pod got every byte, a status other than 200, or the code of the error. */
  type Outcome = (data: AsyncGenerator<Uint8Array>) => Promise<unknown>;

  const senders: Record<string, Outcome> = {
    "mesh.fetch": async (data) => {
      const stream = ReadableStream.from(data) as unknown as ReadableStream;
      const response = await mesh.fetch(URL_OF_SERVICE, { method: "PUT", body: stream, duplex: "half" });
      if (response.status !== 200) return response.status;
      return (await response.json()) as PodAnswer;
    },
    "mesh.request": async (data) => {
      const response = await mesh.request(URL_OF_SERVICE, { method: "PUT", body: Readable.from(data) });
      if (response.statusCode !== 200) return response.statusCode;
      return (await response.body.json()) as PodAnswer;
    },
    "mesh.request with an iterable": async (data) => {
      const response = await mesh.request(URL_OF_SERVICE, { method: "PUT", body: data as unknown as Readable });
      if (response.statusCode !== 200) return response.statusCode;
      return (await response.body.json()) as PodAnswer;
    },
  };

  for (const [name, send] of Object.entries(senders)) {
    const outcomeOf = async (data: AsyncGenerator<Uint8Array>, expected: Uint8Array): Promise<unknown> => {
      try {
        const answer = await send(data);
        if (typeof answer !== "object") return answer;
        const { sha256: seen, bytes } = answer as PodAnswer;
        return seen === sha256(expected) ? "whole" : `200 for ${bytes} of ${expected.length} bytes`;
      } catch (error) {
        return (await onehopErrorOf(Promise.reject(error))).code;
      }
    };

    it(`T-01: is stored whole, or fails, when the pod resets near the limit, by ${name}`, async () => {
      for (const pauseMs of [0, 1, 4, 4, 4, 4, 8, 15]) {
        await host.reset();
        await host.next({ kind: "destroy-half", halfBytes: 60_000 });
        const outcome = await outcomeOf(paced(body, pauseMs), body);
        expect(["whole", "ERR_ONEHOP_BODY_NOT_REPLAYABLE"], `with pauses of ${pauseMs} ms`).toContain(outcome);
      }
    });

    it(`T-01: is stored whole after an early 503, or two of them, by ${name}`, async () => {
      for (const first of [unfinished503, { kind: "half", halfBytes: 20_000 } as const]) {
        for (const failures of [1, 2]) {
          await host.reset();
          await host.next(...Array<PodBehaviour>(failures).fill(first));
          expect(await outcomeOf(paced(body, 25), body)).toBe("whole");
          expect(await host.requests()).toHaveLength(failures + 1);
        }
      }
    });

    it(`T-01: is stored whole, or fails, or the 503 is told, after three of any failure, by ${name}`, async () => {
      const kinds: readonly PodBehaviour[] = [unfinished503, { kind: "destroy-half", halfBytes: 40_000 }];
      for (const first of kinds) {
        for (const second of kinds) {
          for (const third of [{}, ...kinds]) {
            await host.reset();
            await host.next(first, second, third);
            const outcome = await outcomeOf(paced(body, 6), body);
            const isTold = outcome === 503 || /^ERR_ONEHOP_(BODY_NOT_REPLAYABLE|MAYBE_PROCESSED)$/.test(`${outcome}`);
            expect(outcome === "whole" || isTold, String(outcome)).toBe(true);
          }
        }
      }
    });

    it(`T-01: of exactly the limit is stored whole, by ${name}`, async () => {
      const exact = body.subarray(0, LIMIT_BYTES);
      for (const first of [unfinished503, { kind: "destroy-half", halfBytes: 60_000 }, { kind: "destroy" }] as const) {
        await host.reset();
        await host.next(first);
        expect(await outcomeOf(paced(exact, 4), exact)).toBe("whole");
        expect(await host.requests()).toHaveLength(2);
      }
    });

    it(`T-01: is stored whole when its next chunk, over the limit, comes in the pause, by ${name}`, async () => {
      async function* slow(): AsyncGenerator<Uint8Array> {
        yield body.subarray(0, 60_000);
        await retries;
        yield body.subarray(60_000, 120_000);
        yield body.subarray(120_000);
      }
      await host.next(unfinished503);
      expect(await outcomeOf(slow(), body)).toBe("whole");
      expect(await host.requests()).toHaveLength(2);
    });

    it(`T-01: that fails in the pause ends the call with its own error, by ${name}`, async () => {
      const own = new Error("disk");
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield body.subarray(0, 40_000);
        await retries;
        throw own;
      }
      await host.next(unfinished503);
      const error = await rejectionOf(send(failing()));
      expect([error, (error as Error).cause]).toContain(own);
      expect(await host.requests()).toHaveLength(1);
    });
  }
});

describe("T-01: a one-shot stream over the limit", () => {
  const large = BYTES.subarray(0, REPLAY_LIMIT_BYTES * 10);
  const senders = {
    "mesh.fetch": async () => {
      const body = new Blob([large]).stream();
      return (await mesh.fetch(URL_OF_SERVICE, { method: "PUT", body, duplex: "half" })).status;
    },
    "mesh.request": async () => {
      const body = Readable.from(chunksOf(large));
      return (await mesh.request(URL_OF_SERVICE, { method: "PUT", body })).statusCode;
    },
    "undici.request": async () => {
      const body = Readable.from(chunksOf(large));
      const options = { method: "PUT", body, dispatcher: mesh.dispatcher } as const;
      return (await undiciRequest(URL_OF_SERVICE, options)).statusCode;
    },
  };
  for (const [name, send] of Object.entries(senders)) {
    it(`T-01: a reset is 1 attempt and ERR_ONEHOP_BODY_NOT_REPLAYABLE, by ${name}`, async () => {
      await host.next({ kind: "destroy" });
      const error = await onehopErrorOf(send());
      expect(error.code).toBe("ERR_ONEHOP_BODY_NOT_REPLAYABLE");
      expect(error.attempts).toHaveLength(1);
      expect(error.cause).toBeInstanceOf(Error);
      expect(await host.requests()).toHaveLength(1);
    });

    it(`T-01: a 503 after half of it is 1 attempt and the real 503, by ${name}`, async () => {
      await host.next({ kind: "half", halfBytes: REPLAY_LIMIT_BYTES * 5 });
      expect(await send()).toBe(503);
      expect(await host.requests()).toHaveLength(1);
    });

    it(`T-01: a refused connection has not consumed it, by ${name}`, async () => {
      const [first, second] = host.pods;
      const retried: string[] = [];
      mesh.on("retry", ({ endpoint }) => retried.push(endpoint.address));
      await first!.refuse();
      try {
        expect(await send()).toBe(200);
      } finally {
        await first!.accept();
      }
      expect(retried).toEqual([first!.address]);
      expect((await second!.requests()).map((request) => request.sha256)).toEqual([sha256(large)]);
    });
  }
});

describe("T-01: a Request", () => {
  it("T-01: whose body was read throws before any I/O", async () => {
    const request = new Request(URL_OF_SERVICE, { method: "PUT", body: "once" });
    await request.text();
    expect(request.bodyUsed).toBe(true);
    expect(await rejectionOf(mesh.fetch(request))).toBeInstanceOf(TypeError);
    expect(await host.requests()).toEqual([]);
    for (const pod of host.pods) expect((await pod.connections()).accepted).toBe(0);
  });

  it("T-01: with a body is replayed up to the limit, and keeps its method and headers", async () => {
    await host.next({ kind: "destroy" });
    const headers = { "x-tenant": "7" };
    const request = new Request(URL_OF_SERVICE, { method: "PUT", body: "small", headers });
    const response = await mesh.fetch(request);
    expect(((await response.json()) as PodAnswer).sha256).toBe(sha256("small"));
    const seen = await host.requests();
    expect(seen.map((one) => [one.method, one.headers["x-tenant"]])).toEqual([
      ["PUT", "7"],
      ["PUT", "7"],
    ]);
  });

  it("T-01: keeps its headers when its body is replaced by FormData", async () => {
    const request = new Request(URL_OF_SERVICE, { method: "PUT", headers: { "x-tenant": "7" } });
    await (await mesh.fetch(request, { body: formOf() })).text();
    const [seen] = await host.requests();
    expect(seen?.headers["x-tenant"]).toBe("7");
    expect(seen?.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
  });
});

it("T-01: bytes that change after the call change no attempt, by mesh.fetch", async () => {
  const bytes = new Uint8Array(10_000).fill(1);
  const expected = sha256(bytes);
  await host.next({ status: 503, delayMs: 50 });
  const call = byFetch(bytes);
  bytes.fill(2);
  expect((await call).sha256).toBe(expected);
});
