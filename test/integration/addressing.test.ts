import { Agent, buildConnector, request as undiciRequest } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { staticDiscovery } from "../../src/discovery.js";
import type { Mesh, MeshOptions } from "../../src/index.js";
import { type Certificate, makeCertificate } from "../support/certificate.js";
import {
  meshOver,
  onehopErrorOf,
  rejectionOf,
  SERVICE,
  servicesOf,
  URL_OF_SERVICE,
} from "../support/mesh-over-pods.js";
import { type Pod, type PodAnswer, type PodHost, podSpecs, startPods } from "../support/pods.js";

let host: PodHost;
let secureHost: PodHost;
let certificate: Certificate;
let otherCertificate: Certificate;
const meshes: Mesh[] = [];

beforeAll(async () => {
  certificate = makeCertificate(SERVICE);
  otherCertificate = makeCertificate("orders.shop");
  host = await startPods(podSpecs("plain", 15, 3));
  secureHost = await startPods([
    { name: "secure", address: "127.15.1.1", tls: certificate },
    { name: "impostor", address: "127.15.1.2", tls: otherCertificate },
  ]);
});
afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close();
  await host.reset();
  await secureHost.reset();
});
afterAll(async () => {
  await host.stop();
  await secureHost.stop();
});

function meshOf(pods: readonly Pod[], options: MeshOptions = {}): Mesh {
  const { mesh } = meshOver({ home: pods }, options);
  meshes.push(mesh);
  return mesh;
}

function secureMesh(pods: readonly Pod[], ca: readonly Certificate[]): Mesh {
  return meshOf(pods, { services: { [SERVICE]: { tls: { ca: ca.map(({ cert }) => cert) } } } });
}

async function answerOf(response: Promise<Response>): Promise<PodAnswer> {
  return (await (await response).json()) as PodAnswer;
}

describe("T-57: only the socket goes to the pod", () => {
  it("T-57: Host is the service's, with its port where the URL has one", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    await answerOf(mesh.fetch(URL_OF_SERVICE));
    await answerOf(mesh.fetch(`http://${SERVICE}:8080/`));
    await (await mesh.request(URL_OF_SERVICE)).body.text();
    await (await undiciRequest(URL_OF_SERVICE, { dispatcher: mesh.dispatcher })).body.text();
    const seen = await host.requests();
    expect(seen.map(({ headers }) => headers["host"])).toEqual([SERVICE, `${SERVICE}:8080`, SERVICE, SERVICE]);
    expect(seen[0]?.url).toBe("/v1/quotes");
  });

  it("T-57: the TLS server name and the certificate check are the service's", async () => {
    const mesh = secureMesh(secureHost.pods.slice(0, 1), [certificate]);
    const url = `https://${SERVICE}/v1/quotes`;
    const response = await mesh.fetch(url);
    expect(response.status).toBe(200);
    expect(response.url).toBe(url);
    expect(((await response.json()) as PodAnswer).pod).toBe("secure");
    expect(await secureHost.requests()).toMatchObject([{ servername: SERVICE, headers: { host: SERVICE } }]);
  });

  it("T-57: a pod with a certificate for another name is not called, and the TLS error is the cause", async () => {
    const mesh = secureMesh(secureHost.pods.slice(1), [certificate, otherCertificate]);
    const error = await onehopErrorOf(mesh.fetch(`https://${SERVICE}/`, { method: "POST", body: "secret" }));
    expect(error.code).toBe("ERR_ONEHOP_UNREACHABLE");
    expect((error.cause as NodeJS.ErrnoException).code).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(error.attempts.map(({ outcome }) => outcome)).toEqual(["never-left", "never-left", "never-left"]);
    expect(await secureHost.requests()).toEqual([]);
  });

  it("T-57: a certificate that nobody vouches for is refused", async () => {
    const mesh = meshOf(secureHost.pods.slice(0, 1));
    const error = await onehopErrorOf(mesh.fetch(`https://${SERVICE}/`));
    expect(error.code).toBe("ERR_ONEHOP_UNREACHABLE");
    expect((error.cause as NodeJS.ErrnoException).code).toBe("DEPTH_ZERO_SELF_SIGNED_CERT");
  });

  it("T-57: a call leaves a pod with a wrong certificate for one with the right one, also a POST", async () => {
    const mesh = secureMesh(secureHost.pods, [certificate, otherCertificate]);
    for (let call = 0; call < 10; call += 1) {
      const init = { method: "POST", body: "buy 1" };
      expect((await answerOf(mesh.fetch(`https://${SERVICE}/`, init))).pod).toBe("secure");
    }
  });

  it("T-57: a pod that speaks no TLS is unreachable by https", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    expect((await onehopErrorOf(mesh.fetch(`https://${SERVICE}/`))).code).toBe("ERR_ONEHOP_UNREACHABLE");
  });
});

describe("redirects", () => {
  it("T-64: stay logical: response.url is the service's, and each hop is balanced anew", async () => {
    const mesh = meshOf(host.pods);
    await host.next({ status: 302, headers: { location: "/v2/quotes?x=1" } });
    const response = await mesh.fetch(URL_OF_SERVICE);
    expect(response.redirected).toBe(true);
    expect(response.url).toBe(`http://${SERVICE}/v2/quotes?x=1`);
    await response.text();
    const seen = await host.requests();
    expect(seen.map(({ url }) => url).sort()).toEqual(["/v1/quotes", "/v2/quotes?x=1"]);
    expect(seen.map(({ headers }) => headers["host"])).toEqual([SERVICE, SERVICE]);
  });

  it("T-64: to a foreign origin leave the mesh, without credentials", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    const stranger = host.pods[2]!;
    const location = `http://${stranger.address}:${stranger.port}/elsewhere`;
    await host.pods[0]!.next({ status: 302, headers: { location } });
    const response = await mesh.fetch(URL_OF_SERVICE, { headers: { authorization: "Bearer secret" } });
    expect(response.url).toBe(location);
    await response.text();
    expect((await host.pods[0]!.requests())[0]?.headers["authorization"]).toBe("Bearer secret");
    const [seen] = await stranger.requests();
    expect(seen?.headers["host"]).toBe(`${stranger.address}:${stranger.port}`);
    expect(seen?.headers["authorization"]).toBeUndefined();
  });

  it("T-64: 307 sends the body again to the next hop, 303 does not", async () => {
    const mesh = meshOf(host.pods);
    await host.next({ status: 307, headers: { location: "/v2" } }, {}, { status: 303, headers: { location: "/v3" } });
    expect((await answerOf(mesh.fetch(URL_OF_SERVICE, { method: "POST", body: "12345" }))).bytes).toBe(5);
    expect((await answerOf(mesh.fetch(URL_OF_SERVICE, { method: "POST", body: "12345" }))).bytes).toBe(0);
    const last = (await host.requests()).find(({ url }) => url === "/v3");
    expect(last?.method).toBe("GET");
  });
});

/** A dispatcher that sends every host to one pod. */
function agentTo(pod: Pod): Agent {
  const dial = buildConnector({});
  return new Agent({
    connect: (options, callback) => dial({ ...options, hostname: pod.address, port: String(pod.port) }, callback),
  });
}

describe("hosts that are no service of the mesh", () => {
  it("pass through untouched", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    const stranger = host.pods[2]!;
    const url = `http://${stranger.address}:${stranger.port}/x?y=1`;
    const init = { method: "POST", body: "abc", headers: { "X-Mixed-Case": "1" } };
    await (await fetch(url, init)).text();
    await (await mesh.fetch(url, init)).text();
    await (await mesh.request(url)).body.text();
    const [plain, ours, byRequest] = await stranger.requests();
    expect(ours?.rawHeaders).toEqual(plain?.rawHeaders);
    expect(ours).toMatchObject({ method: "POST", url: "/x?y=1", bytes: 3 });
    expect(byRequest?.method).toBe("GET");
    expect(await host.pods[0]!.requests()).toEqual([]);
  });

  it("are not retried, and fail with the transport's own error", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    const stranger = host.pods[2]!;
    const url = `http://${stranger.address}:${stranger.port}/`;
    await stranger.next({ status: 503 });
    const response = await mesh.fetch(url);
    expect(response.status).toBe(503);
    await response.text();
    await stranger.refuse();
    const error = (await rejectionOf(mesh.fetch(url))) as Error;
    await stranger.accept();
    expect(error).toBeInstanceOf(TypeError);
    expect((error.cause as NodeJS.ErrnoException).code).toBe("ECONNREFUSED");
    expect(await stranger.requests()).toHaveLength(1);
  });

  it("go to the dispatcher that the call names; services do not", async () => {
    const mesh = meshOf(host.pods.slice(0, 1));
    const stranger = host.pods[2]!;
    const agent = agentTo(stranger);
    const far = await answerOf(mesh.fetch("http://example.com/", { dispatcher: agent }));
    const near = await answerOf(mesh.fetch(URL_OF_SERVICE, { dispatcher: agent, method: "PUT", body: "1" }));
    await agent.close();
    expect([far.pod, near.pod]).toEqual([stranger.name, "plain-0"]);
    expect((await stranger.requests())[0]?.headers["host"]).toBe("example.com");
  });
});

describe("hosts that only a look-up can decide", () => {
  it("a service that the discovery knows is called pod to pod", async () => {
    const mesh = meshOf(host.pods.slice(0, 1), { services: {} });
    expect((await answerOf(mesh.fetch(URL_OF_SERVICE))).pod).toBe("plain-0");
    expect((await host.requests())[0]?.headers["host"]).toBe(SERVICE);
    expect((await mesh.service(SERVICE).endpoints())[0]?.picks).toBe(1);
  });

  it("its long form names the same service", async () => {
    const mesh = meshOf(host.pods.slice(0, 1), { services: {} });
    expect((await answerOf(mesh.fetch(`http://${SERVICE}.svc.cluster.local/`))).pod).toBe("plain-0");
    expect((await host.requests())[0]?.headers["host"]).toBe(`${SERVICE}.svc.cluster.local`);
  });

  it("one that it does not know passes through, with the call's dispatcher", async () => {
    const mesh = meshOf(host.pods.slice(0, 1), { services: {} });
    const agent = agentTo(host.pods[2]!);
    const answer = await answerOf(mesh.fetch("http://example.com/", { dispatcher: agent, method: "PUT", body: "12" }));
    await agent.close();
    expect(answer).toMatchObject({ pod: "plain-2", bytes: 2 });
  });

  it("can be aborted while they are decided, and after they were handed on", async () => {
    const never = new Promise<boolean>(() => undefined);
    const discovery = staticDiscovery({ services: servicesOf({ home: host.pods }) });
    const undecided = meshOf(host.pods, { services: {}, discovery: { ...discovery, knows: () => never } });
    const controller = new AbortController();
    const reason = new Error("enough");
    const call = undecided.fetch(URL_OF_SERVICE, { signal: controller.signal });
    controller.abort(reason);
    expect(await rejectionOf(call)).toBe(reason);

    const later = new AbortController();
    const mesh = meshOf(host.pods, { services: {} });
    const agent = agentTo(host.pods[2]!);
    await host.pods[2]!.set({ kind: "stream", bodyBytes: 1_000_000, chunkBytes: 1_000, pauseMs: 10 });
    const response = await mesh.fetch("http://example.com/", { dispatcher: agent, signal: later.signal });
    const reading = rejectionOf(response.text());
    later.abort(reason);
    expect(await reading).toBe(reason);
    await agent.destroy();
  });
});
