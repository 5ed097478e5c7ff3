import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Mesh, MeshOptions } from "../../src/index.js";
import { eventually, meshOver, pause, SERVICE, URL_OF_SERVICE } from "../support/mesh-over-pods.js";
import { type PodAnswer, type PodHost, podSpecs, startPods } from "../support/pods.js";

const MIB = 1_048_576;

let host: PodHost;
const meshes: Mesh[] = [];

beforeAll(async () => {
  host = await startPods(podSpecs("load", 18, 4));
});
afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close();
  await host.reset();
});
afterAll(() => host.stop());

function meshOf(count = host.pods.length, options: MeshOptions = {}): Mesh {
  const { mesh } = meshOver({ home: host.pods.slice(0, count) }, options);
  meshes.push(mesh);
  return mesh;
}

async function expectAtRest(mesh: Mesh): Promise<void> {
  for (const report of await mesh.service(SERVICE).endpoints()) expect(report.inflight).toBe(0);
}

describe("many calls at once", () => {
  it("200 calls at once, each with its own body, are answered by all pods", async () => {
    const mesh = meshOf();
    for (const pod of host.pods) await pod.set({ delayMs: 20 });
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const body = `call ${index}`;
        const response = await mesh.fetch(`${URL_OF_SERVICE}?call=${index}`, { method: "POST", body });
        const answer = (await response.json()) as PodAnswer;
        expect(answer.sha256).toBe(createHash("sha256").update(body).digest("hex"));
        return answer.pod;
      }),
    );
    expect(new Set(answers).size).toBe(4);
    expect(await host.requests()).toHaveLength(200);
    await expectAtRest(mesh);
  });

  it("connections are used again, and idle ones fall out", async () => {
    const mesh = meshOf(1);
    for (let call = 0; call < 50; call += 1) await (await mesh.fetch(URL_OF_SERVICE)).text();
    expect(await host.pods[0]!.connections()).toEqual({ open: 1, accepted: 1 });
    await host.pods[0]!.set({ delayMs: 50 });
    await Promise.all(Array.from({ length: 20 }, async () => (await mesh.fetch(URL_OF_SERVICE)).text()));
    const connections = async (): Promise<number | undefined> =>
      (await mesh.service(SERVICE).endpoints())[0]?.connections;
    expect(await connections()).toBe(20);
    // undici closes an idle connection after 4 s.
    await eventually(async () => (await connections()) === 0, 8_000);
    expect((await host.pods[0]!.connections()).open).toBe(0);
  });
});

describe("large bodies", () => {
  it("a download is streamed, with backpressure", async () => {
    const mesh = meshOf(1);
    await host.pods[0]!.set({ kind: "stream", bodyBytes: 64 * MIB });
    const response = await mesh.fetch(URL_OF_SERVICE);
    // Nothing is read for a while: what comes meanwhile stays in the buffers of the connection.
    const before = process.memoryUsage().arrayBuffers;
    await pause(300);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MIB);
    let received = 0;
    for await (const chunk of response.body!) received += chunk.byteLength;
    expect(received).toBe(64 * MIB);
    await expectAtRest(mesh);
  });

  it("a download that is cancelled ends its connection and holds nothing", async () => {
    const mesh = meshOf(1);
    await host.pods[0]!.set({ kind: "stream", bodyBytes: 64 * MIB });
    const response = await mesh.fetch(URL_OF_SERVICE);
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await eventually(async () => (await host.pods[0]!.connections()).open === 0);
    await eventually(async () => (await mesh.service(SERVICE).endpoints())[0]?.inflight === 0);
  });

  it("an upload is streamed: far more than is kept for a retry", async () => {
    const mesh = meshOf();
    const chunk = Buffer.alloc(MIB, "u");
    const hash = createHash("sha256");
    for (let index = 0; index < 32; index += 1) hash.update(chunk);
    const expected = hash.digest("hex");
    async function* upload(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 32; index += 1) yield chunk;
    }
    const response = await mesh.request(URL_OF_SERVICE, { method: "POST", body: Readable.from(upload()) });
    expect(await response.body.json()).toMatchObject({ sha256: expected, bytes: 32 * MIB });
    const init = { method: "POST", body: new Blob(Array<Buffer>(32).fill(chunk)).stream(), duplex: "half" } as const;
    const answer = (await (await mesh.fetch(URL_OF_SERVICE, init)).json()) as PodAnswer;
    expect(answer).toMatchObject({ sha256: expected, bytes: 32 * MIB });
    await expectAtRest(mesh);
  });

  it("an answer that comes before the body is sent ends the upload, and the next call is not disturbed", async () => {
    const mesh = meshOf(1, { services: { [SERVICE]: { retry: { maxAttempts: 1 } } } });
    let yielded = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (; yielded < 10_000; yielded += 1) yield Buffer.alloc(65_536);
    }
    for (let round = 0; round < 5; round += 1) {
      await host.next({ kind: "half", halfBytes: 200_000, status: 413 });
      const early = await mesh.request(URL_OF_SERVICE, { method: "POST", body: Readable.from(endless()) });
      expect(early.statusCode).toBe(413);
      await early.body.text();
      const next = await mesh.request(URL_OF_SERVICE, { method: "POST", body: "small" });
      expect(await next.body.json()).toMatchObject({ bytes: 5 });
    }
    expect(yielded).toBeLessThan(10_000);
    await expectAtRest(mesh);
  });
});

describe("T-16: answers without a body", () => {
  const LENGTH = { headers: { "content-length": "1000" } };
  const CASES = [
    ["HEAD", { bodyBytes: 1_000 }, 200],
    ["GET", { status: 204 }, 204],
    ["GET", { status: 304, ...LENGTH }, 304],
    ["HEAD", { status: 304, ...LENGTH }, 304],
  ] as const;

  it("T-16: HEAD, 204 and 304 with a content-length: no failure, no body, nothing sent again", async () => {
    const mesh = meshOf(1);
    for (const [method, behaviour, status] of CASES) {
      await host.next(behaviour, behaviour);
      const response = await mesh.fetch(URL_OF_SERVICE, { method });
      expect(response.status).toBe(status);
      expect(await response.text()).toBe("");
      const { statusCode, body } = await mesh.request(URL_OF_SERVICE, { method });
      expect(statusCode).toBe(status);
      expect(await body.text()).toBe("");
    }
    expect(await host.requests()).toHaveLength(CASES.length * 2);
    expect((await mesh.service(SERVICE).endpoints())[0]).toMatchObject({ successRate: 1, inflight: 0 });
  });

  it("T-16: a connection is used again after 204 and 304", async () => {
    const mesh = meshOf(1);
    for (const status of [204, 304, 204, 304]) {
      await host.next({ status });
      await (await mesh.fetch(URL_OF_SERVICE)).text();
    }
    expect((await host.pods[0]!.connections()).accepted).toBe(1);
  });
});

describe("encodings", () => {
  it("gzip is decoded by fetch and left alone by request", async () => {
    const mesh = meshOf();
    await host.next({ gzip: true }, { status: 503, gzip: true }, { gzip: true });
    expect(((await (await mesh.fetch(URL_OF_SERVICE)).json()) as PodAnswer).pod).toMatch(/^load-/);
    const { headers, body } = await mesh.request(URL_OF_SERVICE);
    expect(headers["content-encoding"]).toBe("gzip");
    const bytes = new Uint8Array(await body.arrayBuffer());
    expect([bytes[0], bytes[1]]).toEqual([0x1f, 0x8b]);
  });
});
