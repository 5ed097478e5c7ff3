import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type BlackHole, startBlackHole } from "../support/black-hole.js";
import { builtPackage } from "../support/built-package.js";
import { type JobOutcome, runJob } from "../support/job.js";
import { SERVICE, servicesOf } from "../support/mesh-over-pods.js";
import { type Pod, type PodHost, podSpecs, startPods } from "../support/pods.js";

/** 200 ms are allowed; the rest is for slow machines. What holds a process by mistake holds it for a second or more. */
const LINGER_LIMIT_MS = 200 + 600;

const PREAMBLE = `
const { createMesh } = await import(onehop + "index.js");
const { bpfDiscovery, fileDiscovery, staticDiscovery } = await import(onehop + "discovery.js");
const ofList = () => staticDiscovery({ services: input.services });
`;

let host: PodHost;
let onehop: string;
let folder: string;
let blackHole: BlackHole | undefined;

beforeAll(async () => {
  onehop = builtPackage();
  folder = mkdtempSync(join(tmpdir(), "onehop-footprint-"));
  host = await startPods(podSpecs("job", 14, 2));
  blackHole = await startBlackHole("127.14.1.1");
}, 120_000);
afterEach(() => host.reset());
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await blackHole?.stop();
  await host.stop();
});

function run(script: string, input: Record<string, unknown> = {}): Promise<JobOutcome> {
  const services = servicesOf({ home: host.pods });
  return runJob(onehop, PREAMBLE + script, { services, url: `http://${SERVICE}/`, ...input });
}

function expectToEnd(outcome: JobOutcome, stdout: string): void {
  const { exitCode, stderr } = outcome;
  expect({ exitCode, stderr, stdout: outcome.stdout }).toEqual({ exitCode: 0, stderr: "", stdout });
  expect(outcome.lingeredMs).toBeLessThan(LINGER_LIMIT_MS);
}

describe("T-23: a mesh that is not closed does not keep the process alive", () => {
  it("T-23: nothing was called", async () => {
    const outcome = await run(`
      createMesh({ services: { "quotes.energy": {} } });
      console.log("made");
    `);
    expectToEnd(outcome, "made\n");
  });

  it("T-23: after one call", async () => {
    const outcome = await run(`
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      const response = await mesh.fetch(input.url);
      await response.text();
      console.log(response.status);
    `);
    expectToEnd(outcome, "200\n");
  });

  it("T-23: after 50 calls at once", async () => {
    const outcome = await run(`
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      const call = async () => (await mesh.request(input.url)).body.text();
      await Promise.all(Array.from({ length: 50 }, call));
      console.log("done");
    `);
    expectToEnd(outcome, "done\n");
  });

  it("T-23: after a call that failed", async () => {
    const gone = await closedPort(host.pods[0]!);
    const outcome = await run(
      `
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      const error = await mesh.request(input.url).catch((error) => error);
      console.log(error.code, error.attempts.length);
    `,
      { services: { [SERVICE]: [gone] } },
    );
    await host.pods[0]!.accept();
    expectToEnd(outcome, "ERR_ONEHOP_UNREACHABLE 3\n");
  });

  it("T-23: with endpoints from a file that is watched", async () => {
    const path = join(folder, "endpoints.json");
    writeFileSync(path, JSON.stringify({ services: servicesOf({ home: host.pods }) }));
    const outcome = await run(
      `
      const mesh = createMesh({ discovery: fileDiscovery({ path: input.path }), services: { "quotes.energy": {} } });
      await mesh.ready();
      const response = await mesh.fetch(input.url);
      await response.text();
      console.log(response.status);
    `,
      { path },
    );
    expectToEnd(outcome, "200\n");
  });

  it("T-23: with maps that are missing, by the service's own address", async () => {
    const [pod] = host.pods;
    const outcome = await run(
      `
      const mesh = createMesh({
        discovery: bpfDiscovery({ pinDirectory: input.path }),
        services: { "quotes.energy": {} },
        addresses: { "quotes.energy": [input.address] },
      });
      mesh.on("discovery", ({ state }) => console.log(state));
      const response = await mesh.fetch(input.url);
      await response.text();
      console.log(response.status);
    `,
      { path: join(folder, "no-bpffs"), address: pod!.address, url: `http://${SERVICE}:${pod!.port}/` },
    );
    expectToEnd(outcome, "service-address\n200\n");
  });

  it("T-23: after a call that was aborted while a pod was silent", async () => {
    for (const pod of host.pods) await pod.set({ kind: "hang" });
    const outcome = await run(`
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error("enough")), 50);
      const error = await mesh.fetch(input.url, { signal: controller.signal }).catch((error) => error);
      console.log(error.message);
    `);
    expectToEnd(outcome, "enough\n");
  });

  it("T-23: after a call that was aborted while connecting", async ({ skip }) => {
    if (blackHole === undefined) return skip("this system does not let connections to a full backlog hang");
    const outcome = await run(
      `
      const mesh = createMesh({
        discovery: ofList(),
        services: { "quotes.energy": { connectTimeoutMs: 5_000 } },
      });
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error("enough")), 50);
      const startedAt = performance.now();
      const error = await mesh.fetch(input.url, { signal: controller.signal }).catch((error) => error);
      console.log(error.message, performance.now() - startedAt < 500);
    `,
      { services: { [SERVICE]: [{ address: blackHole.address, port: blackHole.port }] } },
    );
    expectToEnd(outcome, "enough true\n");
  });

  it("T-23: with a call that nobody awaits in its backoff, and is aborted", async () => {
    for (const pod of host.pods) await pod.set({ status: 503 });
    const outcome = await run(`
      const retry = { backoff: { baseMs: 5_000, capMs: 5_000 } };
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": { retry } }, random: () => 0.9 });
      const controller = new AbortController();
      mesh.once("retry", () => controller.abort(new Error("enough")));
      const error = await mesh.fetch(input.url, { signal: controller.signal }).catch((error) => error);
      console.log(error.message);
    `);
    expectToEnd(outcome, "enough\n");
  });

  it("T-23: after a retry whose first answer still comes", async () => {
    await host.next({ kind: "stream", status: 503, chunkBytes: 10, bodyBytes: 100_000, pauseMs: 50 });
    const outcome = await run(`
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      const response = await mesh.fetch(input.url);
      await response.text();
      console.log(response.status);
    `);
    expectToEnd(outcome, "200\n");
  });

  it("T-23: after its endpoints went away under a running call", async () => {
    const outcome = await run(`
      const discovery = ofList();
      const mesh = createMesh({ discovery, services: { "quotes.energy": {} } });
      const response = await mesh.fetch(input.url);
      discovery.update({ "quotes.energy": [] });
      await response.text();
      console.log(response.status);
    `);
    expectToEnd(outcome, "200\n");
  });
});

describe("T-24: what is awaited keeps the process alive", () => {
  it("T-24: a call in a backoff of 300 ms as the only work", async () => {
    for (const pod of host.pods) await pod.next({ kind: "destroy" });
    const outcome = await run(`
      const retry = { backoff: { baseMs: 310, capMs: 310 } };
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": { retry } }, random: () => 0.99 });
      let pauses = 0;
      mesh.on("retry", ({ delayMs }) => { pauses += delayMs; });
      const response = await mesh.fetch(input.url);
      await response.text();
      console.log(response.status, pauses >= 300);
    `);
    expectToEnd(outcome, "200 true\n");
  });

  const LATE_DISCOVERY = `
    const inner = ofList();
    const late = {
      ...inner,
      watch: (target, listener) => inner.watch(target, (update) => setTimeout(() => listener(update), 400).unref()),
    };
    const mesh = createMesh({ discovery: late, services: { "quotes.energy": {} } });
  `;

  it("T-24: a call that waits for its endpoints", async () => {
    const outcome = await run(`${LATE_DISCOVERY}
      const { statusCode, body } = await mesh.request(input.url);
      await body.text();
      console.log(statusCode);
    `);
    expectToEnd(outcome, "200\n");
  });

  it("T-24: mesh.ready(), and what a service is asked", async () => {
    const outcome = await run(`${LATE_DISCOVERY}
      await mesh.ready();
      console.log("ready");
      console.log((await mesh.service("quotes.energy:81").endpoints()).length);
      console.log((await mesh.service("quotes.energy:82").explain()).state);
    `);
    expectToEnd(outcome, "ready\n2\nendpoints\n");
  });

  it("T-24: mesh.close() while a call runs", async () => {
    for (const pod of host.pods) await pod.set({ delayMs: 300 });
    const outcome = await run(`
      const mesh = createMesh({ discovery: ofList(), services: { "quotes.energy": {} } });
      mesh.fetch(input.url).then((response) => response.text()).then(() => console.log("answered"));
      await mesh.close();
      console.log("closed");
    `);
    expect(outcome.stdout.split("\n").sort()).toEqual(["", "answered", "closed"]);
    expect(outcome.exitCode).toBe(0);
  });
});

/** The address of a pod that refuses connections from now on. */
async function closedPort(pod: Pod): Promise<{ readonly address: string; readonly port: number }> {
  await pod.refuse();
  return { address: pod.address, port: pod.port };
}
