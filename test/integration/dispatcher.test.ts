import { AsyncLocalStorage } from "node:async_hooks";
import { PassThrough } from "node:stream";
import { request as undiciRequest, stream as undiciStream, upgrade as undiciUpgrade } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AttemptObserver, AttemptRecord, Mesh, MeshOptions } from "../../src/index.js";
import { builtPackage } from "../support/built-package.js";
import { runJob } from "../support/job.js";
import {
  AMPLE_BUDGET,
  eventually,
  meshOver,
  onehopErrorOf,
  pause,
  rejectionOf,
  SERVICE,
  servicesOf,
  URL_OF_SERVICE,
} from "../support/mesh-over-pods.js";
import { type PodAnswer, type PodHost, podSpecs, startPods } from "../support/pods.js";

let host: PodHost;
const meshes: Mesh[] = [];

beforeAll(async () => {
  host = await startPods(podSpecs("face", 17, 3));
});
afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close();
  await host.reset();
});
afterAll(() => host.stop());

function meshOf(options: MeshOptions = {}): Mesh {
  const { mesh } = meshOver({ home: host.pods }, { defaults: { retry: { budget: AMPLE_BUDGET } }, ...options });
  meshes.push(mesh);
  return mesh;
}

async function podOf(response: Promise<Response>): Promise<string> {
  return ((await (await response).json()) as PodAnswer).pod;
}

const openConnections = async (): Promise<number> =>
  (await Promise.all(host.pods.map((pod) => pod.connections()))).reduce((sum, { open }) => sum + open, 0);

describe("mesh.dispatcher", () => {
  it("serves undici.request, with retries", async () => {
    const mesh = meshOf();
    await host.next({ status: 503 }, { kind: "destroy" });
    const { statusCode, body } = await undiciRequest(URL_OF_SERVICE, { dispatcher: mesh.dispatcher });
    expect(statusCode).toBe(200);
    expect(((await body.json()) as PodAnswer).pod).toMatch(/^face-/);
    expect(await host.requests()).toHaveLength(3);
  });

  it("serves undici.stream", async () => {
    const mesh = meshOf();
    await host.next({ status: 503 });
    const sink = new PassThrough();
    let statusCode = 0;
    const text = (async () => {
      let read = "";
      for await (const chunk of sink) read += chunk;
      return read;
    })();
    await undiciStream(URL_OF_SERVICE, { method: "GET", dispatcher: mesh.dispatcher }, (response) => {
      statusCode = response.statusCode;
      return sink;
    });
    expect(statusCode).toBe(200);
    expect((JSON.parse(await text) as PodAnswer).pod).toMatch(/^face-/);
    expect(await host.requests()).toHaveLength(2);
  });

  it("T-31: serves the runtime's own fetch", async () => {
    const mesh = meshOf();
    await host.next({ status: 503 });
    const init = { dispatcher: mesh.dispatcher } as unknown as RequestInit;
    expect(await podOf(fetch(URL_OF_SERVICE, init))).toMatch(/^face-/);
    const posted = { ...init, method: "PUT", body: "12345" };
    expect(((await (await fetch(URL_OF_SERVICE, posted)).json()) as PodAnswer).bytes).toBe(5);
    expect(await host.requests()).toHaveLength(3);
  });

  it("takes the rules of a call in the options of the dispatch", async () => {
    const mesh = meshOf();
    for (const pod of host.pods) await pod.set({ status: 503 });
    const options = { dispatcher: mesh.dispatcher, onehop: { retry: { maxAttempts: 1 } } };
    const { statusCode, body } = await undiciRequest(URL_OF_SERVICE, options);
    await body.dump();
    expect(statusCode).toBe(503);
    expect(await host.requests()).toHaveLength(1);
  });

  it("refuses what undici refuses, and blames no endpoint", async () => {
    const mesh = meshOf();
    const headers = { "content-length": "3" };
    const error = await rejectionOf(mesh.request(URL_OF_SERVICE, { method: "PUT", body: "12345", headers }));
    expect(error).toMatchObject({ code: "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH" });
    expect(await rejectionOf(mesh.request(URL_OF_SERVICE, { headers: { "bad header": "x" } }))).toMatchObject({
      code: "UND_ERR_INVALID_ARG",
    });
    expect(await host.requests()).toEqual([]);
    for (const report of await mesh.service(SERVICE).endpoints()) {
      expect(report).toMatchObject({ successRate: 1, inflight: 0 });
    }
  });

  it("is upgraded once, and not retried", async () => {
    const mesh = meshOf();
    await host.next({ status: 503 });
    const call = undiciUpgrade(URL_OF_SERVICE, { protocol: "websocket", dispatcher: mesh.dispatcher });
    expect(await rejectionOf(call)).toBeInstanceOf(Error);
    expect(await host.requests()).toHaveLength(1);
  });
});

describe("the attempt observer", () => {
  it("T-28: adds headers to each attempt, runs dispatch and callbacks where it likes, sees the records", async () => {
    const started: { readonly number: number; readonly method: string; readonly address: string }[] = [];
    const records: AttemptRecord[] = [];
    const context = new AsyncLocalStorage<string>();
    const deliveredIn: (string | undefined)[] = [];
    const observer: AttemptObserver = {
      attemptStarted: ({ number, method, endpoint }) => {
        started.push({ number, method, address: endpoint.address });
        const name = context.getStore() ?? "none";
        return {
          headers: { traceparent: `00-${number}`, "X-Attempt": String(number) },
          run: (dispatch) => context.run(`attempt ${number}`, dispatch),
          callback: (deliver) =>
            context.run(name, () => {
              deliveredIn.push(context.getStore());
              deliver();
            }),
          settled: (record) => records.push(record),
        };
      },
    };
    const mesh = meshOf({ observer });
    await host.next({ status: 503 });
    await context.run("caller", async () => {
      const { body } = await mesh.request(URL_OF_SERVICE, {
        headers: { TraceParent: "of the caller", "x-kept": "1" },
      });
      await body.text();
    });
    expect(started.map(({ number, method }) => [number, method])).toEqual([
      [1, "GET"],
      [2, "GET"],
    ]);
    expect(new Set(deliveredIn)).toEqual(new Set(["caller"]));
    expect(records).toMatchObject([
      { number: 1, outcome: "response", status: 503, cluster: "home" },
      { number: 2, outcome: "response", status: 200 },
    ]);
    const seen = [...(await host.requests())].sort(
      (a, b) => Number(a.headers["x-attempt"]) - Number(b.headers["x-attempt"]),
    );
    expect(seen.map(({ headers }) => [headers["traceparent"], headers["x-kept"]])).toEqual([
      ["00-1", "1"],
      ["00-2", "1"],
    ]);
    const names = seen[0]!.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
    expect(names.filter((name) => name === "traceparent")).toHaveLength(1);
  });

  it("T-63: that throws in each of its parts harms no call, and is told once", async () => {
    const broken = (): never => {
      throw new Error("broken observer");
    };
    for (const observer of [
      { attemptStarted: broken },
      { attemptStarted: () => ({ run: broken, callback: broken, settled: broken }) },
    ] as AttemptObserver[]) {
      const mesh = meshOf({ observer });
      const warnings: string[] = [];
      mesh.on("warning", ({ message }) => warnings.push(message));
      await host.next({ status: 503 });
      expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^face-/);
      expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^face-/);
      expect(warnings.length).toBeGreaterThan(0);
      expect(new Set(warnings).size).toBe(warnings.length);
    }
  });

  it("that cancels the call when an attempt starts or ends leaves nothing behind", async () => {
    for (const when of ["start", "end"]) {
      const controller = new AbortController();
      const reason = new Error(`at the ${when}`);
      const abort = (): void => controller.abort(reason);
      const observer: AttemptObserver = {
        attemptStarted() {
          if (when === "start") abort();
          return { settled: abort };
        },
      };
      const mesh = meshOf({ observer });
      await host.next({ status: 503 });
      expect(await rejectionOf(mesh.fetch(URL_OF_SERVICE, { signal: controller.signal }))).toBe(reason);
      for (const report of await mesh.service(SERVICE).endpoints()) expect(report.inflight).toBe(0);
      await mesh.close();
      await eventually(async () => (await openConnections()) === 0);
    }
    expect((await host.requests()).length).toBeLessThanOrEqual(1);
  });
});

describe("closing", () => {
  it("waits for running calls, refuses new ones, ends connections, and may be asked twice", async () => {
    const mesh = meshOf();
    for (const pod of host.pods) await pod.set({ delayMs: 200 });
    const running = Promise.all(Array.from({ length: 6 }, () => podOf(mesh.fetch(URL_OF_SERVICE))));
    await eventually(async () => (await host.requests()).length === 6);
    const closing = mesh.close();
    expect(mesh.close()).toBe(closing);
    for (const call of [mesh.fetch(URL_OF_SERVICE), mesh.request(URL_OF_SERVICE)]) {
      expect((await onehopErrorOf(call)).code).toBe("ERR_ONEHOP_CLOSED");
    }
    expect(await running).toHaveLength(6);
    await closing;
    await eventually(async () => (await openConnections()) === 0);
    expect((await onehopErrorOf(mesh.ready())).code).toBe("ERR_ONEHOP_CLOSED");
    expect((await onehopErrorOf(mesh.service(SERVICE).explain())).code).toBe("ERR_ONEHOP_CLOSED");
  });

  it("a call that was made just before still goes out", async () => {
    const mesh = meshOf();
    const calls = [
      mesh.fetch(URL_OF_SERVICE),
      mesh.fetch(URL_OF_SERVICE, { method: "PUT", body: new URLSearchParams({ a: "1" }) }),
    ].map(podOf);
    await mesh.close();
    for (const pod of await Promise.all(calls)) expect(pod).toMatch(/^face-/);
  });

  it("works as `await using`", async () => {
    const { mesh } = meshOver({ home: host.pods });
    await podOf(mesh.fetch(URL_OF_SERVICE));
    await mesh[Symbol.asyncDispose]();
    await eventually(async () => (await openConnections()) === 0);
    expect((await onehopErrorOf(mesh.fetch(URL_OF_SERVICE))).code).toBe("ERR_ONEHOP_CLOSED");
  });

  it("ends a response that nobody reads after the drain timeout", async () => {
    const mesh = meshOf({ defaults: { drainTimeoutMs: 200 } });
    for (const pod of host.pods) await pod.set({ kind: "stream", bodyBytes: 50_000_000 });
    const { body } = await mesh.request(URL_OF_SERVICE);
    const failure = new Promise((resolve) => body.once("error", resolve));
    const startedAt = performance.now();
    await mesh.close();
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(await failure).toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await eventually(async () => (await openConnections()) === 0);
  });

  it("settles who waits for a view", async () => {
    const { discovery } = meshOver({ home: host.pods });
    const silent = { ...discovery, attach() {}, watch: () => ({ touch() {}, refresh() {}, close() {} }) };
    const mesh = meshOf({ discovery: silent, defaults: { drainTimeoutMs: 200, timeoutMs: 60_000 } });
    const waiting = [mesh.ready(), mesh.service(SERVICE).endpoints(), mesh.fetch(URL_OF_SERVICE)].map(onehopErrorOf);
    const startedAt = performance.now();
    await mesh.close();
    for (const error of await Promise.all(waiting)) expect(error.code).toBe("ERR_ONEHOP_CLOSED");
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("T-61: at any moment of calls that are retried: every call settles, and nothing is left", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    for (const pod of host.pods.slice(0, 2)) await pod.set({ status: 503, delayMs: 3 });
    for (let round = 0; round < 60; round += 1) {
      const mesh = meshOf({ defaults: { drainTimeoutMs: 100, retry: { budget: AMPLE_BUDGET } } });
      const calls = Array.from({ length: 5 }, async () => (await mesh.fetch(URL_OF_SERVICE)).text());
      const settled = Promise.allSettled(calls);
      await pause(round % 20);
      await mesh.close();
      const outcomes = await settled;
      for (const outcome of outcomes) {
        if (outcome.status === "rejected")
          expect(outcome.reason).toMatchObject({ cause: { code: "ERR_ONEHOP_CLOSED" } });
      }
    }
    await pause(20);
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
    await eventually(async () => (await openConnections()) === 0);
  });
});

describe("other versions of Node", () => {
  // Paths of other binaries, as .ci/run installs them.
  const others = (process.env["ONEHOP_NODES"] ?? "").split(":").filter(Boolean);

  it("T-31: fetch of each Node that is at hand works over the dispatcher, with retries", async ({ skip }) => {
    if (others.length === 0) {
      expect(process.env["CI"], "in CI other Nodes must be there").toBeUndefined();
      return skip("ONEHOP_NODES names no other Node");
    }
    const onehop = builtPackage();
    for (const node of others) {
      await host.reset();
      await host.next({ status: 503 });
      const outcome = await runJob(
        onehop,
        `
        const { createMesh } = await import(onehop + "index.js");
        const { staticDiscovery } = await import(onehop + "discovery.js");
        const mesh = createMesh({ discovery: staticDiscovery({ services: input.services }), services: { "quotes.energy": {} } });
        const ours = await mesh.fetch("http://quotes.energy/", { method: "PUT", body: "12345" });
        const theirs = await fetch("http://quotes.energy/", { dispatcher: mesh.dispatcher });
        console.log((await ours.json()).bytes, ours.url, (await theirs.json()).bytes);
      `,
        { services: servicesOf({ home: host.pods }) },
        { node },
      );
      expect(outcome).toMatchObject({ exitCode: 0, stderr: "", stdout: "5 http://quotes.energy/ 0\n" });
      expect(await host.requests()).toHaveLength(3);
    }
  });
});
