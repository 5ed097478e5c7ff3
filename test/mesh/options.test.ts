import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bpfDiscovery } from "../../src/discovery/bpf-discovery.js";
import { fileDiscovery } from "../../src/discovery/file-discovery.js";
import { staticDiscovery } from "../../src/discovery/static-discovery.js";
import { isOnehopError } from "../../src/errors.js";
import { createMesh, type MeshOptions } from "../../src/index.js";
import { checkCallOptions } from "../../src/options-schema.js";
import { callPolicy, settleService } from "../../src/service-policy.js";

/** The message of the ERR_ONEHOP_CONFIG that `action` throws. */
function problem(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (!isOnehopError(error)) throw error;
    expect(error.code).toBe("ERR_ONEHOP_CONFIG");
    return error.message;
  }
  return "none";
}
const ofMesh = (options: unknown): string => problem(() => createMesh(options as MeshOptions));
const ofBpf = (options: unknown): string => problem(() => bpfDiscovery(options as object));
const ofFile = (...options: unknown[]): string => problem(() => fileDiscovery(options[0] as { path: string }));
const ofStatic = (...options: unknown[]): string =>
  problem(() => staticDiscovery(options[0] as { services: Record<string, never> }));
const ofCall = (options: unknown): string => problem(() => checkCallOptions(options));

/** Has all that a discovery has. */
const DISCOVERY = {
  name: "own",
  attach() {},
  watch: () => ({ touch() {}, refresh() {}, close() {} }),
  knows: async () => false,
  localCluster: () => undefined,
  close: async () => {},
};

describe("createMesh", () => {
  it("takes a discovery of the caller's own, and one that inherits its methods", () => {
    expect(ofMesh({ discovery: DISCOVERY })).toBe("none");
    expect(ofMesh({ discovery: Object.create(DISCOVERY) })).toBe("none");
    expect(ofMesh({ discovery: bpfDiscovery() })).toBe("none");
  });

  it.each([["10.96.0.10"], ["10.96.0.10:65535"], ["fd00::a"], ["[fd00::a]"], ["[fd00::a]:53"], ["fe80::1%eth0"]])(
    "takes the name server %s",
    (server) => {
      expect(ofMesh({ dns: { nameservers: [server] } })).toBe("none");
    },
  );

  it.each([["cluster.local"], ["Cluster.Local."], ["k8s"]])("takes the cluster domain %s", (clusterDomain) => {
    expect(ofMesh({ clusterDomain, dns: { search: [clusterDomain, "."] } })).toBe("none");
  });

  it("takes no options, and all of them", () => {
    expect(ofMesh(undefined)).toBe("none");
    const service = {
      timeoutMs: 800,
      perTryTimeoutMs: 200,
      connectTimeoutMs: 100,
      bodyIdleTimeoutMs: 0,
      retry: {
        maxAttempts: 1,
        statuses: [503],
        backoff: { baseMs: 1, capMs: 2 },
        budget: { ratio: 0, minPerSecond: 0, ttlMs: 1 },
        concurrency: { ratio: 1, minimum: 1 },
        spread: "never-cross",
        replayLimitBytes: 0,
      },
      locality: { order: ["local", "eu-west-1", "*"] },
      expectIdentity: { numbers: [1], labels: ["app=quotes"], unknown: "refuse", strict: true },
      dial: "service",
      drainTimeoutMs: 0,
      emptyGraceMs: 0,
      tls: { ca: "x" },
    };
    const options = {
      services: { "quotes.energy": service, "orders.shop:8080": {} },
      defaults: { ...service, locality: { order: "any" } },
      discovery: staticDiscovery({ services: {} }),
      cluster: "eu-west-1",
      clusterDomain: "cluster.local",
      addresses: { "quotes.energy": ["10.96.7.7"] },
      dns: { nameservers: ["10.96.0.10"], search: ["a.svc"], resolvConfPath: "/x", hostsPath: "/y" },
      idleServiceMs: 1,
      observer: { attemptStarted: () => undefined },
      clock: { now: () => 0, setTimer: () => ({ cancel() {} }), setBackgroundTimer: () => ({ cancel() {} }) },
      random: () => 0.5,
    };
    expect(ofMesh(options)).toBe("none");
  });

  const cases: readonly [options: unknown, ...parts: readonly string[]][] = [
    [{ servces: {} }, "options.servces: unknown key", 'did you mean "services"?'],
    [{ zzzzzzzz: 1 }, "options.zzzzzzzz: unknown key", "(known: services, defaults, "],
    [{ services: { "a.b": { timeout: 5 } } }, 'options.services["a.b"].timeout', 'did you mean "timeoutMs"?'],
    [{ services: { "a.b": { timeoutMs: "5s" } } }, '["a.b"].timeoutMs: expected milliseconds above 0, got "5s"'],
    [{ services: { "a.b": { timeoutMs: 0 } } }, "expected milliseconds above 0, got 0"],
    [{ services: { "a.b": { timeoutMs: Number.NaN } } }, "timeoutMs"],
    [{ services: { "a.b": { timeoutMs: undefined } } }, "expected milliseconds above 0, got undefined"],
    [{ services: { "a.b": { retry: { maxAttempt: 2 } } } }, "retry.maxAttempt", 'did you mean "maxAttempts"?'],
    [{ services: { "a.b": { retry: { maxAttempts: 0 } } } }, "expected a whole number of 1 or more, got 0"],
    [{ services: { "a.b": { retry: { statuses: [503, 200] } } } }, "retry.statuses[1]: expected an HTTP status", "200"],
    [{ services: { "a.b": { retry: { statuses: 503 } } } }, "retry.statuses: expected a list, got 503"],
    [{ services: { "a.b": { retry: { budget: { ratio: 2 } } } } }, "budget.ratio: expected a share from 0 to 1, got 2"],
    [{ services: { "a.b": { retry: { spread: "never" } } } }, '"same-then-other", "never-cross", got "never"'],
    [{ services: { "a.b": { locality: { order: [] } } } }, 'locality.order: expected "any" or a list of cluster names'],
    [{ services: { "a.b": { locality: { order: "local" } } } }, 'got "local"'],
    [{ services: { "a.b": { expectIdentity: { number: [1] } } } }, 'did you mean "numbers"?'],
    [{ services: { "a.b": { dial: "pods" } } }, 'dial: expected one of "auto", "service", got "pods"'],
    [{ services: { "a.b": null } }, 'options.services["a.b"]: expected an object, got null'],
    [{ services: [] }, "options.services", "got []"],
    [{ services: "a.b" }, 'options.services: expected an object, got "a.b"'],
    [{ services: { "http://a.b": {} } }, "http://a.b"],
    [{ services: { "a.b:70000": {} } }, "a.b:70000"],
    [{ services: { "": {} } }, '""'],
    [{ services: { "a.b": {}, "A.B.svc": {} } }, "A.B.svc", "a.b"],
    [{ defaults: { emptyGrace: 1 } }, "options.defaults.emptyGrace", 'did you mean "emptyGraceMs"?'],
    [{ discovery: "bpf" }, 'options.discovery: expected a discovery such as bpfDiscovery() makes, got "bpf"'],
    [{ discovery: bpfDiscovery }, "options.discovery", "got a function"],
    [
      { discovery: { watch() {} } },
      "options.discovery: expected a discovery such as bpfDiscovery() makes, got one without name, attach, knows, " +
        "localCluster, close",
    ],
    [{ discovery: { ...DISCOVERY, name: 5 } }, "options.discovery: expected a discovery", "got one without name"],
    [{ discovery: { ...DISCOVERY, knows: true } }, "options.discovery: expected a discovery", "got one without knows"],
    [{ cluster: "" }, "options.cluster: expected a string that is not empty"],
    [{ addresses: { "a.b": "10.0.0.1" } }, 'options.addresses["a.b"]: expected a list'],
    [
      { addresses: { "a.b": ["10.0.0.1", "10.0.0.300"] } },
      'options.addresses["a.b"][1]: expected an IP address such as 10.96.7.7 or fd00::7, got "10.0.0.300"',
    ],
    [{ addresses: { "a.b": [5] } }, 'options.addresses["a.b"][0]: expected an IP address', "got 5"],
    [{ addresses: { "a.b": [] } }, 'options.addresses["a.b"]: expected at least one address, got []'],
    [{ clusterDomain: "not a domain!!" }, "options.clusterDomain: expected a domain name", 'got "not a domain!!"'],
    [{ clusterDomain: "." }, "options.clusterDomain: expected a domain name"],
    [{ dns: { nameserver: [] } }, 'did you mean "nameservers"?'],
    [
      { dns: { nameservers: ["10.0.0.1:99999"] } },
      "options.dns.nameservers[0]: expected an IP address, with a port from 1 to 65535 where it is not 53",
      'got "10.0.0.1:99999"',
    ],
    [{ dns: { nameservers: ["10.0.0.1", "10.0.0.1:0"] } }, "options.dns.nameservers[1]: expected an IP address"],
    [{ dns: { nameservers: ["[fd00::a]:65536"] } }, "options.dns.nameservers[0]: expected an IP address"],
    [{ dns: { nameservers: ["not an address"] } }, "options.dns.nameservers[0]: expected", 'got "not an address"'],
    [{ dns: { nameservers: [53] } }, "options.dns.nameservers[0]: expected", "got 53"],
    [{ dns: { search: ["svc", "a b"] } }, "options.dns.search[1]: expected a domain name", 'got "a b"'],
    [{ random: 5 }, "options.random: expected a function, got 5"],
    [{ clock: Date }, "options.clock", "got a function"],
    [{ observer: {} }, "options.observer: expected an attempt observer, got {}"],
    [null, "null"],
    [5, "5"],
    [[], "options", "[]"],
    [() => 5, "a function"],
    [{ cluster: { a: 1n } }, "options.cluster: expected a string"],
  ];
  it.each(cases)("names what is wrong with %o", (options, ...parts) => {
    const message = ofMesh(options);
    for (const part of parts) expect(message).toContain(part);
  });

  it("names everything that is wrong, each on its line", () => {
    const message = ofMesh({ servces: {}, cluster: 5, defaults: { timeoutMs: -1 } });
    expect(message.split("\n")).toHaveLength(4);
    expect(message).toMatch(/^wrong options of createMesh:\n {2}options\./);
  });

  it("shows values that cannot be written down", () => {
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    expect(ofMesh({ cluster: circle })).toContain("options.cluster: expected a string, got an object");
    expect(
      ofMesh({
        cluster: {
          toJSON: () => {
            throw new Error("no");
          },
        },
      }),
    ).toContain("got an object");
    expect(ofMesh({ cluster: Symbol("s") })).toContain("got Symbol(s)");
    expect(ofMesh({ cluster: "x".repeat(1_000).split("") }).length).toBeLessThan(200);
  });

  it("takes any value, or refuses it with its own error", () => {
    const part = fc.constantFrom(
      "services",
      "defaults",
      "discovery",
      "cluster",
      "addresses",
      "dns",
      "retry",
      "timeoutMs",
      "locality",
      "order",
      "quotes.energy",
      "numbers",
      "nameservers",
      "clock",
      "random",
      "tls",
      "__proto__",
      "constructor",
    );
    const leaf = fc.oneof(fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true }), part);
    const nested = fc.object({ key: fc.oneof(part, fc.string()), values: [leaf], maxDepth: 4 });
    fc.assert(
      fc.property(fc.oneof(nested, leaf), (options) => {
        const message = ofMesh(options);
        expect(message.length).toBeGreaterThan(0);
        expect(ofCall(options).length).toBeGreaterThan(0);
        expect(ofBpf(options).length).toBeGreaterThan(0);
        expect(ofFile(options).length).toBeGreaterThan(0);
        expect(ofStatic(options).length).toBeGreaterThan(0);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("bpfDiscovery", () => {
  it("takes no options, and all of them", () => {
    expect(ofBpf(undefined)).toBe("none");
    const kernel = { kind: "simulated", open() {}, pinStamp() {} };
    const options = {
      pinDirectory: "/x",
      clusters: { 1: "eu-west-1" },
      zones: { 3: "eu-west-1a" },
      maxConnectedClusters: 511,
      pollMs: 1,
      quietPollMs: 2,
      quietAfterMs: 3,
      l7Proxy: "pods",
      ownAddresses: ["10.0.0.1"],
      kernel,
      clock: { now: () => 0, setTimer() {}, setBackgroundTimer() {} },
    };
    expect(ofBpf(options)).toBe("none");
  });

  const cases: readonly [options: unknown, ...parts: readonly string[]][] = [
    [{ pollms: 5 }, "options.pollms: unknown key", 'did you mean "pollMs"?'],
    [{ pollMs: 0 }, "options.pollMs: expected milliseconds above 0, got 0"],
    [{ clusters: { one: "a" } }, "options.clusters: expected names by number", '{"one":"a"}'],
    [{ clusters: ["a"] }, "options.clusters: expected names by number"],
    [{ clusters: { 600: "a" } }, "options.clusters"],
    [{ clusters: { 1: "" } }, "options.clusters"],
    [{ zones: { 300: "a" } }, "options.zones"],
    [{ maxConnectedClusters: 256 }, "options.maxConnectedClusters: expected 255 or 511, got 256"],
    [{ l7Proxy: "service" }, 'expected "service-address" or "pods", got "service"'],
    [{ ownAddresses: "10.0.0.1" }, "options.ownAddresses: expected a list of addresses"],
    [{ ownAddresses: ["10.0.0.300"] }, "options.ownAddresses[0]", "10.0.0.300"],
    [{ kernel: {} }, "options.kernel: expected a kernel, got {}"],
    [null, "null"],
    [[], "[]"],
  ];
  it.each(cases)("names what is wrong with %o", (options, ...parts) => {
    const message = ofBpf(options);
    for (const part of parts) expect(message).toContain(part);
  });
});

describe("fileDiscovery", () => {
  it("takes a path, and all options", () => {
    expect(ofFile({ path: "/x.json" })).toBe("none");
    const clock = { now: () => 0, setTimer() {}, setBackgroundTimer() {} };
    expect(ofFile({ path: "x.json", pollMs: 0.5, clock })).toBe("none");
  });

  const cases: readonly [options: readonly unknown[], ...parts: readonly string[]][] = [
    [[], "wrong options of fileDiscovery", "options: expected an object, got undefined"],
    [["/x.json"], 'options: expected an object, got "/x.json"'],
    [[{}], "options.path: expected the path of a JSON file, got undefined"],
    [[{ pth: "/x.json" }], 'options.pth: unknown key; did you mean "path"?', "options.path: expected the path"],
    [[{ path: "" }], 'options.path: expected the path of a JSON file, got ""'],
    [[{ path: "a\0b" }], "options.path: expected the path of a JSON file"],
    [[{ path: 5 }], "options.path: expected the path of a JSON file, got 5"],
    [[{ path: "/x", pollIntervallMs: 5 }], "options.pollIntervallMs: unknown key", "(known: path, pollMs, clock)"],
    [[{ path: "/x", pollms: 5 }], 'did you mean "pollMs"?'],
    [[{ path: "/x", pollMs: Number.POSITIVE_INFINITY }], "options.pollMs: expected milliseconds above 0"],
    [[{ path: "/x", pollMs: Number.NaN }], "options.pollMs: expected milliseconds above 0"],
    [[{ path: "/x", pollMs: 0 }], "options.pollMs: expected milliseconds above 0, got 0"],
    [[{ path: "/x", pollMs: undefined }], "options.pollMs: expected milliseconds above 0, got undefined"],
    [[{ path: "/x", clock: {} }], "options.clock: expected a clock, got {}"],
  ];
  it.each(cases)("names what is wrong with %o", (options, ...parts) => {
    const message = ofFile(...options);
    for (const part of parts) expect(message).toContain(part);
  });
});

describe("staticDiscovery", () => {
  it.each<[options: readonly unknown[], part: string]>([
    [[], "staticDiscovery: the whole is undefined, but must be an object with the key services"],
    [[{}], "services is missing"],
    [[{ service: {} }], "service is not a known key; did you mean services?"],
    [[{ services: {}, pollMs: 5 }], "pollMs is not a known key"],
    [[{ services: {}, localCluster: 5 }], "localCluster is 5, but must be the name of a cluster"],
  ])("names what is wrong with %o", (options, part) => {
    expect(ofStatic(...options)).toContain(part);
  });
});

describe("the options of one call", () => {
  it.each<readonly [unknown, string]>([
    [{}, "none"],
    [{ timeoutMs: 5, perTryTimeoutMs: 1, idempotent: true, retry: { maxAttempts: 1 } }, "none"],
    [{ timeout: 5 }, 'onehop.timeout: unknown key; did you mean "timeoutMs"?'],
    [{ idempotent: "yes" }, 'onehop.idempotent: expected true or false, got "yes"'],
    [{ retry: { statuses: [503] } }, "onehop.retry.statuses: unknown key"],
    [{ retry: 3 }, "onehop.retry"],
    [5, "5"],
    [null, "null"],
    [{ policyFor: () => undefined }, "onehop.policyFor: unknown key"],
  ])("%o: %s", (options, expected) => {
    expect(ofCall(options)).toContain(expected);
  });

  it("are refused before anything is sent, whatever way the call is made", async () => {
    const mesh = createMesh({ discovery: staticDiscovery({ services: { "a.b": ["127.0.0.1:1"] } }) });
    for (const wrong of [{ timeout: 5 }, { policyFor: 5 }, 5]) {
      const onehop = wrong as object;
      await expect(mesh.fetch("http://a.b/", { onehop })).rejects.toMatchObject({ code: "ERR_ONEHOP_CONFIG" });
      await expect(mesh.request("http://a.b/", { onehop })).rejects.toMatchObject({ code: "ERR_ONEHOP_CONFIG" });
      await expect(mesh.request("http://a.b/", { onehop, method: "POST", body: () => "x" })).rejects.toMatchObject({
        code: "ERR_ONEHOP_CONFIG",
      });
    }
    await mesh.close();
  });
});

describe("settling", () => {
  it("gives every value its default", () => {
    const settled = settleService();
    expect(settled).toMatchObject({
      timeoutMs: 15_000,
      perTryTimeoutMs: undefined,
      connectTimeoutMs: 1_000,
      bodyIdleTimeoutMs: 300_000,
      drainTimeoutMs: 30_000,
      emptyGraceMs: 5_000,
      maxAttempts: 3,
      replayLimitBytes: 65_536,
      spread: "same-then-other",
      backoff: { baseMs: 25, capMs: 250 },
      retryBudget: { ratio: 0.2, minPerSecond: 1, ttlMs: 10_000 },
      retryConcurrency: { ratio: 0.2, minimum: 3 },
      localityOrder: ["local", "*"],
      dial: "auto",
    });
    expect([...settled.retryStatuses]).toEqual([429, 502, 503, 504]);
  });

  it("takes a service's own values before those of the mesh, one by one", () => {
    const defaults = {
      timeoutMs: 100,
      dial: "service" as const,
      retry: { maxAttempts: 5, backoff: { baseMs: 1, capMs: 9 }, budget: { ratio: 0.5, ttlMs: 5 } },
      locality: { order: ["a"] },
    };
    const own = { timeoutMs: 200, retry: { backoff: { baseMs: 2 }, budget: { ratio: 0.1 } } };
    expect(settleService(own, defaults)).toMatchObject({
      timeoutMs: 200,
      dial: "service",
      maxAttempts: 5,
      backoff: { baseMs: 2, capMs: 9 },
      retryBudget: { ratio: 0.1, minPerSecond: 1, ttlMs: 5 },
      localityOrder: ["a"],
    });
  });

  it("leaves time for another attempt when connecting hangs", () => {
    expect(settleService({ timeoutMs: 900 }).connectTimeoutMs).toBe(300);
    expect(settleService({ timeoutMs: 900, perTryTimeoutMs: 200 }).connectTimeoutMs).toBe(200);
    expect(settleService({ timeoutMs: 900, retry: { maxAttempts: 1 } }).connectTimeoutMs).toBe(900);
    expect(settleService({ timeoutMs: 900, connectTimeoutMs: 800 }).connectTimeoutMs, "said is said").toBe(800);
  });

  it("takes a call's own values before those of its service", () => {
    const service = settleService({ timeoutMs: 900 });
    expect(callPolicy(service, undefined)).toBe(service);
    expect(callPolicy(service, { timeoutMs: 50, retry: { maxAttempts: 1 } })).toMatchObject({
      timeoutMs: 50,
      maxAttempts: 1,
      perTryTimeoutMs: undefined,
      backoff: service.backoff,
      spread: service.spread,
    });
  });
});
