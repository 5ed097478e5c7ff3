import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Mesh, MeshEventOf, MeshOptions, ServiceOptions } from "../../src/index.js";
import {
  eventually,
  type MeshOverPods,
  meshOver,
  onehopErrorOf,
  pause,
  SERVICE,
  servicesOf,
  URL_OF_SERVICE,
} from "../support/mesh-over-pods.js";
import { type Pod, type PodAnswer, type PodHost, podSpecs, startPods } from "../support/pods.js";

let host: PodHost;
const meshes: Mesh[] = [];

beforeAll(async () => {
  host = await startPods(podSpecs("change", 13, 10));
});
afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close();
  await host.reset();
});
afterAll(() => host.stop());

function meshOf(pods: readonly Pod[], rules: ServiceOptions = {}, options: MeshOptions = {}): MeshOverPods {
  const made = meshOver({ home: pods }, { services: { [SERVICE]: rules }, ...options });
  meshes.push(made.mesh);
  return made;
}

async function podOf(response: Promise<Response>): Promise<string> {
  return ((await (await response).json()) as PodAnswer).pod;
}

/** Connections that each pod has accepted so far. */
function accepted(): Promise<readonly number[]> {
  return Promise.all(host.pods.map(async (pod) => (await pod.connections()).accepted));
}

/** Makes one connection to each of the pods at least: calls at once go where none is under way. */
async function callAll(mesh: Mesh, pods: readonly Pod[]): Promise<void> {
  const answered = new Set<string>();
  for (const pod of pods) await pod.set({ delayMs: 20 });
  for (let round = 0; round < 50 && answered.size < pods.length; round += 1) {
    const calls = Array.from({ length: pods.length * 2 }, () => podOf(mesh.fetch(URL_OF_SERVICE)));
    for (const name of await Promise.all(calls)) answered.add(name);
  }
  for (const pod of pods) await pod.set({});
  expect([...answered].sort()).toEqual(pods.map(({ name }) => name).sort());
}

describe("T-48: an update touches only what changed", () => {
  it("T-48: 1,000 updates with the same set keep connections, picks and latencies", async () => {
    const { mesh, discovery } = meshOf(host.pods);
    await callAll(mesh, host.pods);
    const before = await mesh.service(SERVICE).endpoints();
    const connectionsBefore = await accepted();
    let told = 0;
    mesh.on("endpoints", () => {
      told += 1;
    });
    for (let update = 0; update < 1_000; update += 1) {
      // The order of the list says nothing.
      const pods = update % 2 === 0 ? host.pods : host.pods.toReversed();
      discovery.update(servicesOf({ home: pods }));
      if (update % 50 === 0) await podOf(mesh.fetch(URL_OF_SERVICE));
    }
    const after = await mesh.service(SERVICE).endpoints();
    const picksOf = (reports: typeof after): number => reports.reduce((sum, { picks }) => sum + picks, 0);
    expect(picksOf(after)).toBe(picksOf(before) + 20);
    for (const report of after) expect(report.latencyMs).toBeDefined();
    expect(await accepted()).toEqual(connectionsBefore);
    expect(told).toBe(0);
  });

  it("T-48: adding 1 of 10 leaves 9 untouched, and so does removing it", async () => {
    const nine = host.pods.slice(0, 9);
    const { mesh, discovery } = meshOf(nine);
    await callAll(mesh, nine);
    const before = await mesh.service(SERVICE).endpoints();
    const connectionsBefore = (await accepted()).slice(0, 9);

    discovery.update(servicesOf({ home: host.pods }));
    // One at a time, so that no call needs a second connection. A new pod is taken to be as fast as the median.
    for (let call = 0; call < 200 && (await host.pods[9]!.requests()).length === 0; call += 1) {
      await podOf(mesh.fetch(URL_OF_SERVICE));
    }
    expect((await host.pods[9]!.requests()).length).toBeGreaterThan(0);
    const after = await mesh.service(SERVICE).endpoints();
    expect(after).toHaveLength(10);
    for (const { address, picks } of before) {
      expect(after.find((report) => report.address === address)?.picks).toBeGreaterThanOrEqual(picks);
    }
    expect((await accepted()).slice(0, 9)).toEqual(connectionsBefore);

    discovery.update(servicesOf({ home: nine }));
    await eventually(async () => (await host.pods[9]!.connections()).open === 0);
    for (let call = 0; call < 50; call += 1) await podOf(mesh.fetch(URL_OF_SERVICE));
    expect((await accepted()).slice(0, 9)).toEqual(connectionsBefore);
    expect((await mesh.service(SERVICE).endpoints()).map(({ address }) => address)).not.toContain(
      host.pods[9]!.address,
    );
  });
});

describe("T-49: an empty or flapping discovery", () => {
  it("T-49: flaps while calls run: none fails", async () => {
    const pods = host.pods.slice(0, 3);
    const { mesh, discovery } = meshOf(pods, { emptyGraceMs: 1_000 });
    const states: string[] = [];
    mesh.on("discovery", ({ state }) => states.push(state));
    await podOf(mesh.fetch(URL_OF_SERVICE));
    const until = performance.now() + 2_000;
    let calls = 0;
    const lane = async (): Promise<void> => {
      while (performance.now() < until) {
        await podOf(mesh.fetch(URL_OF_SERVICE));
        calls += 1;
      }
    };
    const flap = async (): Promise<void> => {
      for (let turn = 0; performance.now() < until; turn += 1) {
        discovery.update(turn % 2 === 0 ? { [SERVICE]: [] } : servicesOf({ home: pods }));
        await pause(100);
      }
    };
    await Promise.all([lane(), lane(), lane(), lane(), flap()]);
    expect(calls).toBeGreaterThan(100);
    expect(states.filter((state) => state === "stale").length).toBeGreaterThan(5);
    expect(new Set(states)).toEqual(new Set(["endpoints", "stale"]));
  });

  it("T-49: stays empty: calls go on for the grace, then get a typed error at once; the pods come back", async () => {
    const pods = host.pods.slice(0, 2);
    const { mesh, discovery } = meshOf(pods, { emptyGraceMs: 300 });
    const events: MeshEventOf<"discovery">[] = [];
    mesh.on("discovery", (event) => events.push(event));
    await podOf(mesh.fetch(URL_OF_SERVICE));
    discovery.update({ [SERVICE]: [] });
    await pause(100);
    await podOf(mesh.fetch(URL_OF_SERVICE));
    await eventually(() => events.at(-1)?.state === "empty");
    const startedAt = performance.now();
    const error = await onehopErrorOf(mesh.fetch(URL_OF_SERVICE));
    expect(performance.now() - startedAt).toBeLessThan(200);
    expect(error.code).toBe("ERR_ONEHOP_NO_ENDPOINTS");
    expect(error.attempts).toEqual([]);
    expect(error.message).toContain(SERVICE);
    for (const pod of pods) expect((await pod.connections()).open).toBe(0);

    discovery.update(servicesOf({ home: pods }));
    await eventually(() => events.at(-1)?.state === "endpoints");
    expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toMatch(/^change-/);
    expect(events.map(({ state }) => state)).toEqual(["endpoints", "stale", "empty", "endpoints"]);
  });

  it("T-49: the service vanishes from the source: after the grace its own address is called, with an event", async () => {
    const [first, second] = host.pods;
    const { mesh, discovery } = meshOf(
      [first!],
      { emptyGraceMs: 100 },
      { addresses: { [SERVICE]: [second!.address] } },
    );
    const events: MeshEventOf<"discovery">[] = [];
    mesh.on("discovery", (event) => events.push(event));
    const url = `http://${SERVICE}:${second!.port}/`;
    expect(await podOf(mesh.fetch(url))).toBe(first!.name);
    discovery.update({});
    await eventually(() => events.at(-1)?.state === "service-address");
    expect(await podOf(mesh.fetch(url))).toBe(second!.name);
  });
});

describe("endpoints that go away drain", () => {
  it("a vanished pod: its idle connections close, its running call finishes, no new call comes", async () => {
    const pods = host.pods.slice(0, 2);
    const { mesh, discovery } = meshOf(pods);
    const [leaving, staying] = pods;
    for (const pod of pods) await pod.set({ delayMs: 30 });
    await Promise.all(Array.from({ length: 8 }, () => podOf(mesh.fetch(URL_OF_SERVICE))));
    expect((await leaving!.connections()).open).toBeGreaterThan(1);

    const before = (await leaving!.requests()).length;
    for (const pod of pods) await pod.set({ delayMs: 600 });
    const running = Promise.all(Array.from({ length: 2 }, () => podOf(mesh.fetch(URL_OF_SERVICE))));
    await eventually(async () => (await leaving!.requests()).length === before + 1);
    discovery.update(servicesOf({ home: [staying!] }));
    await eventually(async () => (await leaving!.connections()).open === 1, 400);
    expect((await running).sort()).toEqual([leaving!.name, staying!.name]);
    await eventually(async () => (await leaving!.connections()).open === 0);

    await staying!.set({});
    for (let call = 0; call < 10; call += 1) expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toBe(staying!.name);
    expect(await leaving!.requests()).toHaveLength(before + 1);
  });

  it("a terminating pod likewise; it is called again when nothing else is left", async () => {
    const [leaving, staying] = host.pods;
    const { mesh, discovery } = meshOf([leaving!, staying!]);
    await callAll(mesh, [leaving!, staying!]);
    const entry = (pod: Pod, state: "active" | "terminating") => ({ address: pod.address, port: pod.port, state });
    discovery.update({ [SERVICE]: [entry(leaving!, "terminating"), entry(staying!, "active")] });
    await eventually(async () => (await leaving!.connections()).open === 0);
    const before = (await leaving!.requests()).length;
    for (let call = 0; call < 20; call += 1) expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toBe(staying!.name);
    expect(await leaving!.requests()).toHaveLength(before);

    discovery.update({ [SERVICE]: [entry(leaving!, "terminating")] });
    await pause(0);
    expect(await podOf(mesh.fetch(URL_OF_SERVICE))).toBe(leaving!.name);
  });

  it("a running call is cut when the drain takes too long", async () => {
    const pods = host.pods.slice(0, 2);
    const { mesh, discovery } = meshOf([pods[0]!], { drainTimeoutMs: 200 });
    await pods[0]!.set({ kind: "hang" });
    const call = mesh.fetch(URL_OF_SERVICE, { onehop: { timeoutMs: 10_000, perTryTimeoutMs: 10_000 } });
    await eventually(async () => (await host.requests()).length === 1);
    const startedAt = performance.now();
    discovery.update(servicesOf({ home: [pods[1]!] }));
    expect(await podOf(call)).toBe(pods[1]!.name);
    expect(performance.now() - startedAt).toBeGreaterThan(150);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

describe("the service's own address, where no pods are known", () => {
  it("is called with retries, and told by an event", async () => {
    const [vip] = host.pods;
    const { mesh } = meshOf([], {}, { addresses: { "orders.shop": [vip!.address] }, services: { "orders.shop": {} } });
    const events: MeshEventOf<"discovery">[] = [];
    mesh.on("discovery", (event) => events.push(event));
    await host.next({ status: 503 }, { kind: "destroy" });
    const url = `http://orders.shop:${vip!.port}/`;
    expect(await podOf(mesh.fetch(url))).toBe(vip!.name);
    expect(await host.requests()).toHaveLength(3);
    expect(events).toMatchObject([{ state: "service-address", previous: "pending", service: "orders.shop" }]);
    const explanation = await mesh.service(`orders.shop:${vip!.port}`).explain();
    expect(explanation).toMatchObject({ state: "service-address", endpoints: [{ kind: "service", eligible: true }] });
  });

  it("is called by choice", async () => {
    const [pod, vip] = host.pods;
    const { mesh } = meshOf([pod!], { dial: "service" }, { addresses: { [SERVICE]: [vip!.address] } });
    expect(await podOf(mesh.fetch(`http://${SERVICE}:${vip!.port}/`))).toBe(vip!.name);
  });

  it("is not known either: a typed error says so", async () => {
    const { mesh } = meshOf([], {}, { dns: { nameservers: ["127.13.1.1:1"] }, services: { "orders.shop": {} } });
    const error = await onehopErrorOf(mesh.fetch("http://orders.shop/", { onehop: { timeoutMs: 8_000 } }));
    expect(error.code).toBe("ERR_ONEHOP_DISCOVERY_UNAVAILABLE");
    expect(error.message).toContain("orders.shop");
  });
});
