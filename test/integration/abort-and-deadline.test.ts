import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Mesh, MeshOptions, ServiceOptions } from "../../src/index.js";
import { type BlackHole, startBlackHole } from "../support/black-hole.js";
import {
  AMPLE_BUDGET,
  eventually,
  meshOver,
  onehopErrorOf,
  type PodsByCluster,
  pause,
  rejectionOf,
  SERVICE,
  URL_OF_SERVICE,
} from "../support/mesh-over-pods.js";
import { type PodAnswer, type PodHost, podSpecs, startPods } from "../support/pods.js";

let host: PodHost;
let blackHole: BlackHole | undefined;
const meshes: Mesh[] = [];

beforeAll(async () => {
  host = await startPods(podSpecs("time", 16, 4));
  blackHole = await startBlackHole("127.16.1.1");
});
afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close();
  await host.reset();
});
afterAll(async () => {
  await blackHole?.stop();
  await host.stop();
});

function meshOf(clusters: PodsByCluster, rules: ServiceOptions = {}, options: MeshOptions = {}): Mesh {
  const { mesh } = meshOver(clusters, { services: { [SERVICE]: rules }, ...options });
  meshes.push(mesh);
  return mesh;
}

async function podOf(response: Promise<Response>): Promise<string> {
  return ((await (await response).json()) as PodAnswer).pod;
}

async function elapsed(call: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await call.catch(() => undefined);
  return performance.now() - startedAt;
}

const openConnections = async (): Promise<number> =>
  (await Promise.all(host.pods.map((pod) => pod.connections()))).reduce((sum, { open }) => sum + open, 0);

/** Takes the last of the choices there are, which is the black hole: endpoints are sorted by address. */
const lastChoice = (): number => 0.99;

describe("T-34: the caller's reason to abort arrives as it is", () => {
  const reason = new Error("enough");

  it("T-34: before the call: nothing is sent", async () => {
    const mesh = meshOf({ home: host.pods });
    const signal = AbortSignal.abort(reason);
    expect(await rejectionOf(mesh.fetch(URL_OF_SERVICE, { signal }))).toBe(reason);
    expect(await rejectionOf(mesh.request(URL_OF_SERVICE, { signal }))).toBe(reason);
    expect(await host.requests()).toEqual([]);
    for (const pod of host.pods) expect((await pod.connections()).accepted).toBe(0);
  });

  it("T-34: while a pod is silent: at once, and its connection ends", async () => {
    const mesh = meshOf({ home: host.pods });
    for (const pod of host.pods) await pod.set({ kind: "hang" });
    for (const [index, send] of [mesh.fetch, mesh.request].entries()) {
      const controller = new AbortController();
      const call = send(URL_OF_SERVICE, { signal: controller.signal });
      const rejection = rejectionOf(call);
      await eventually(async () => (await host.requests()).length === index + 1);
      controller.abort(reason);
      expect(await elapsed(call)).toBeLessThan(100);
      expect(await rejection).toBe(reason);
      await eventually(async () => (await openConnections()) === 0);
    }
    // An abort is not a failure: it is not retried.
    expect(await host.requests()).toHaveLength(2);
  });

  it("T-34: during a backoff: at once", async () => {
    const mesh = meshOf(
      { home: host.pods },
      { retry: { backoff: { baseMs: 8_000, capMs: 8_000 } } },
      { random: () => 0.5 },
    );
    await host.next({ status: 503 });
    const controller = new AbortController();
    mesh.on("retry", () => setTimeout(() => controller.abort(reason), 30));
    const call = mesh.fetch(URL_OF_SERVICE, { signal: controller.signal });
    expect(await elapsed(call)).toBeLessThan(1_000);
    expect(await rejectionOf(call)).toBe(reason);
    expect(await host.requests()).toHaveLength(1);
  });

  it("T-34: in the middle of the body: the body fails with it", async () => {
    const mesh = meshOf({ home: host.pods });
    for (const pod of host.pods) await pod.set({ kind: "stream", bodyBytes: 1_000_000, chunkBytes: 1_000, pauseMs: 5 });
    const controller = new AbortController();
    const response = await mesh.fetch(URL_OF_SERVICE, { signal: controller.signal });
    const reading = rejectionOf(response.text());
    await pause(50);
    controller.abort(reason);
    expect(await reading).toBe(reason);
    await eventually(async () => (await openConnections()) === 0);

    const again = new AbortController();
    const { body } = await mesh.request(URL_OF_SERVICE, { signal: again.signal });
    const readingAgain = rejectionOf(body.text());
    again.abort(reason);
    expect(await readingAgain).toBe(reason);
    await eventually(async () => (await openConnections()) === 0);
    expect(await host.requests()).toHaveLength(2);
  });

  it("T-34: AbortSignal.timeout() keeps its name", async () => {
    const mesh = meshOf({ home: host.pods });
    for (const pod of host.pods) await pod.set({ kind: "hang" });
    const error = await rejectionOf(mesh.fetch(URL_OF_SERVICE, { signal: AbortSignal.timeout(50) }));
    expect(error).toMatchObject({ name: "TimeoutError" });
  });

  it("T-30: while connecting: at once", async ({ skip }) => {
    if (blackHole === undefined) return skip("this system does not let connections to a full backlog hang");
    const hole = { ...blackHole, name: "hole" } as never;
    const mesh = meshOf({ home: [hole] }, { connectTimeoutMs: 10_000 });
    for (const send of [mesh.fetch, mesh.request]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 100);
      const call = send(URL_OF_SERVICE, { signal: controller.signal });
      expect(await elapsed(call)).toBeLessThan(300);
      expect(await rejectionOf(call)).toBe(reason);
    }
  });

  it("T-46: one call's abort leaves its neighbours alone", async () => {
    const mesh = meshOf({ home: host.pods.slice(0, 1) });
    await host.pods[0]!.set({ delayMs: 150 });
    const controller = new AbortController();
    const calls = Array.from({ length: 10 }, (_, index) =>
      podOf(mesh.fetch(URL_OF_SERVICE, index === 3 ? { signal: controller.signal } : {})),
    );
    setTimeout(() => controller.abort(reason), 50);
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual(outcomes.map((_, index) => index !== 3));
  });
});

describe("the deadline", () => {
  it("a hanging pod costs a share of it: the next attempt answers", async () => {
    const mesh = meshOf({ home: host.pods.slice(0, 2) }, { timeoutMs: 900 });
    await host.next({ kind: "hang" });
    const startedAt = performance.now();
    expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^time-/);
    const took = performance.now() - startedAt;
    expect(took).toBeGreaterThanOrEqual(299);
    expect(took).toBeLessThan(700);
  });

  it("ends a call whose pods all hang, in time, and tells the attempts", async () => {
    const mesh = meshOf({ home: host.pods }, { timeoutMs: 600 });
    for (const pod of host.pods) await pod.set({ kind: "hang" });
    const call = mesh.fetch(URL_OF_SERVICE);
    const took = await elapsed(call);
    expect(took).toBeGreaterThanOrEqual(595);
    expect(took).toBeLessThan(800);
    const error = await onehopErrorOf(call);
    expect(error.code).toBe("ERR_ONEHOP_DEADLINE");
    expect(error.attempts).toHaveLength(3);
    expect(new Set(error.attempts.map(({ endpoint }) => endpoint)).size).toBe(3);
    expect(error.message).toContain("600 ms");
    expect(error.message).toContain("3 attempts");
    await eventually(async () => (await openConnections()) === 0);
  });

  it("bounds headers that trickle in", async () => {
    const mesh = meshOf({ home: host.pods }, { timeoutMs: 400, retry: { maxAttempts: 1 } });
    for (const pod of host.pods) await pod.set({ kind: "dribble", delayMs: 20 });
    const call = mesh.fetch(URL_OF_SERVICE);
    expect(await elapsed(call)).toBeLessThan(700);
    expect((await onehopErrorOf(call)).code).toBe("ERR_ONEHOP_DEADLINE");
  });

  it("does not bound the body, whose silence has a bound of its own", async () => {
    const mesh = meshOf({ home: host.pods }, { timeoutMs: 200, bodyIdleTimeoutMs: 1_000 });
    for (const pod of host.pods) await pod.set({ kind: "stream", bodyBytes: 10_000, chunkBytes: 1_000, pauseMs: 50 });
    expect(await (await mesh.fetch(URL_OF_SERVICE)).text()).toHaveLength(10_000);

    for (const pod of host.pods)
      await pod.set({ kind: "stream", bodyBytes: 10_000, chunkBytes: 1_000, pauseMs: 60_000 });
    const { body } = await mesh.request(URL_OF_SERVICE);
    expect(await rejectionOf(body.text())).toMatchObject({ code: "UND_ERR_BODY_TIMEOUT" });
  });

  it("and the rest may be set for one call", async () => {
    const mesh = meshOf({ home: host.pods });
    for (const pod of host.pods) await pod.set({ kind: "hang" });
    const short = mesh.fetch(URL_OF_SERVICE, { onehop: { timeoutMs: 300, retry: { maxAttempts: 1 } } });
    expect(await elapsed(short)).toBeLessThan(500);
    expect((await onehopErrorOf(short)).attempts).toHaveLength(1);

    const tries = mesh.request(URL_OF_SERVICE, {
      onehop: { perTryTimeoutMs: 100, timeoutMs: 2_000, retry: { maxAttempts: 2 } },
    });
    expect(await elapsed(tries)).toBeLessThan(600);
    const error = await onehopErrorOf(tries);
    expect(error.code).toBe("ERR_ONEHOP_MAYBE_PROCESSED");
    expect(error.attempts).toHaveLength(2);
  });

  it("wrong options of a call name the option, and nothing is sent", async () => {
    const mesh = meshOf({ home: host.pods });
    for (const onehop of [{ timeoutMs: -1 }, { timeuotMs: 5 }] as never[]) {
      for (const call of [mesh.fetch(URL_OF_SERVICE, { onehop }), mesh.request(URL_OF_SERVICE, { onehop })]) {
        const error = await onehopErrorOf(call);
        expect(error.code).toBe("ERR_ONEHOP_CONFIG");
        expect(error.message).toContain("timeoutMs");
      }
    }
    expect(await host.requests()).toEqual([]);
  });

  it("T-62: all pods refuse: every call settles", async () => {
    const mesh = meshOf({ home: host.pods.slice(0, 2) }, { timeoutMs: 2_000, retry: { budget: AMPLE_BUDGET } });
    for (const pod of host.pods.slice(0, 2)) await pod.refuse();
    const calls = Array.from({ length: 50 }, () => onehopErrorOf(mesh.fetch(URL_OF_SERVICE)));
    const startedAt = performance.now();
    const errors = await Promise.all(calls);
    expect(performance.now() - startedAt).toBeLessThan(2_200);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["ERR_ONEHOP_UNREACHABLE"]));
    for (const pod of host.pods.slice(0, 2)) await pod.accept();
    expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^time-/);
  });

  it("a pod that swallows connections is left after connectTimeoutMs, also with a POST", async ({ skip }) => {
    if (blackHole === undefined) return skip("this system does not let connections to a full backlog hang");
    const hole = { ...blackHole, name: "hole" } as never;
    const mesh = meshOf({ home: [hole, host.pods[0]!] }, { connectTimeoutMs: 200 }, { random: lastChoice });
    const startedAt = performance.now();
    expect(await podOf(mesh.fetch(URL_OF_SERVICE, { method: "POST", body: "buy 1" }))).toBe("time-0");
    expect(performance.now() - startedAt).toBeGreaterThan(195);
    expect(performance.now() - startedAt).toBeLessThan(600);
    expect(await host.requests()).toHaveLength(1);
  });

  it("an attempt that times out while connecting never left: a POST goes on", async ({ skip }) => {
    if (blackHole === undefined) return skip("this system does not let connections to a full backlog hang");
    const hole = { ...blackHole, name: "hole" } as never;
    const rules = { connectTimeoutMs: 5_000, perTryTimeoutMs: 200 };
    const mesh = meshOf({ home: [hole, host.pods[0]!] }, rules, { random: lastChoice });
    expect(await podOf(mesh.fetch(URL_OF_SERVICE, { method: "POST", body: "buy 1" }))).toBe("time-0");
    expect(await host.requests()).toHaveLength(1);
  });
});

describe("T-32: the wall clock", () => {
  it("T-32: jumps by hours under calls that time out and back off: nothing comes early or late", async () => {
    const mesh = meshOf({ home: host.pods }, { timeoutMs: 900, retry: { budget: AMPLE_BUDGET } });
    const realNow = Date.now;
    let jumps = 0;
    const jumping = setInterval(() => {
      jumps += 1;
      const offsetMs = (jumps % 2 === 0 ? 1 : -1) * 3_600_000;
      Date.now = () => realNow() + offsetMs;
    }, 5);
    try {
      for (let round = 0; round < 5; round += 1) {
        await host.next({ status: 503 }, { kind: "hang" });
        const startedAt = performance.now();
        expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^time-/);
        const took = performance.now() - startedAt;
        expect(took).toBeGreaterThanOrEqual(299);
        expect(took).toBeLessThan(850);
      }
    } finally {
      clearInterval(jumping);
      Date.now = realNow;
    }
    expect(jumps).toBeGreaterThan(50);
  });
});

describe("clusters", () => {
  const [HOME, NEAR, FAR] = ["home", "near", "far"];

  function threeClusters(rules: ServiceOptions = {}): Mesh {
    const [a, b, c, d] = host.pods;
    return meshOf({ [FAR!]: [d!], [HOME!]: [a!, b!], [NEAR!]: [c!] }, rules);
  }

  it("the own cluster serves as long as it answers", async () => {
    const mesh = threeClusters();
    const pods = await Promise.all(Array.from({ length: 40 }, () => podOf(mesh.fetch(URL_OF_SERVICE))));
    expect(new Set(pods)).toEqual(new Set(["time-0", "time-1"]));
  });

  it("a timeout leaves for another cluster at once, in the given order", async () => {
    const mesh = threeClusters({ timeoutMs: 900, locality: { order: ["local", "near", "*"] } });
    for (const pod of host.pods.slice(0, 2)) await pod.set({ kind: "hang" });
    const response = await mesh.fetch(URL_OF_SERVICE);
    expect(response.headers.get("x-pod")).toBe("time-2");
    await response.text();
    expect(await host.requests()).toHaveLength(2);
  });

  it("a 503 tries the own cluster's other pod first, then another cluster", async () => {
    const mesh = threeClusters({ locality: { order: ["local", "far", "near"] } });
    for (const pod of host.pods.slice(0, 2)) await pod.set({ status: 503 });
    expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toBe("time-3");
    for (const pod of host.pods.slice(0, 2)) expect(await pod.requests()).toHaveLength(1);
  });

  it("a whole cluster refuses: no call fails", async () => {
    const mesh = threeClusters();
    for (const pod of host.pods.slice(0, 2)) await pod.refuse();
    try {
      const lane = async (): Promise<string[]> => {
        const pods: string[] = [];
        for (let call = 0; call < 20; call += 1) {
          pods.push(await podOf(mesh.fetch(URL_OF_SERVICE, { method: call % 2 === 0 ? "GET" : "POST" })));
        }
        return pods;
      };
      // More extra sends than a budget of 0.2 pays for: connections that were refused are free once per call.
      const pods = (await Promise.all(Array.from({ length: 5 }, lane))).flat();
      expect(pods).toHaveLength(100);
      for (const pod of pods) expect(["time-2", "time-3"]).toContain(pod);
    } finally {
      for (const pod of host.pods.slice(0, 2)) await pod.accept();
    }
  });

  it("never-cross stays, whatever happens", async () => {
    const mesh = threeClusters({ retry: { spread: "never-cross", budget: AMPLE_BUDGET } });
    for (const pod of host.pods.slice(0, 2)) await pod.set({ status: 503 });
    const response = await mesh.fetch(URL_OF_SERVICE);
    expect(response.status).toBe(503);
    await response.text();
    expect(await host.requests()).toHaveLength(3);
    for (const pod of host.pods.slice(2)) expect(await pod.requests()).toEqual([]);
  });

  it("attempts tell the cluster", async () => {
    const mesh = threeClusters({ locality: { order: ["local", "near"] } });
    for (const pod of host.pods) await pod.set({ kind: "destroy" });
    const error = await onehopErrorOf(mesh.fetch(URL_OF_SERVICE));
    expect(error.attempts.map(({ cluster }) => cluster)).toEqual(["home", "home", "near"]);
  });
});
