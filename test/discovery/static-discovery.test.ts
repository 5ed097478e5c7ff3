import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DiscoveryUpdate, WatchTarget } from "../../src/discovery/discovery.js";
import { readEndpointList } from "../../src/discovery/endpoint-list.js";
import { staticDiscovery } from "../../src/discovery/static-discovery.js";
import { isOnehopError } from "../../src/errors.js";
import { parseServiceHost } from "../../src/model/service-ref.js";

function target(host: string, port = 80): WatchTarget {
  const service = parseServiceHost(host);
  if (service === undefined) throw new Error(`${host} is no service`);
  return { service, port, addresses: async () => ({ addresses: [], ttlMs: 0 }) };
}

/** What a watch is told, in order; `settle` lets what is due arrive. */
function listen(discovery: ReturnType<typeof staticDiscovery>, watched: WatchTarget) {
  const told: DiscoveryUpdate[] = [];
  const watch = discovery.watch(watched, (update) => told.push(update));
  return { told, watch };
}

/** What a watch is told that comes after the close of its discovery. */
const CLOSED = "the discovery was closed; make another";

const settle = () => new Promise((resolve) => setImmediate(resolve));

function keysOf(update: DiscoveryUpdate | undefined): readonly string[] {
  return update?.kind === "view" ? update.endpoints.map((endpoint) => endpoint.key) : [];
}

describe("staticDiscovery", () => {
  it("gives endpoints with all their attributes", async () => {
    const discovery = staticDiscovery({
      localCluster: "eu",
      services: {
        "quotes.energy": [
          "10.1.2.3:8080",
          {
            address: "FD00:0::7",
            cluster: "us",
            zone: "us-1a",
            node: "n1",
            identity: { number: 70_000, labels: ["k8s:app=quotes"] },
            state: "terminating",
          },
          { address: "10.1.2.4", port: 9_090, identity: 65_600 },
        ],
      },
    });
    const { told } = listen(discovery, target("quotes.energy", 8_080));
    expect(told).toEqual([]);
    await settle();
    const unknown = { clusterNumber: undefined, cluster: undefined, zone: undefined, node: undefined };
    expect(told).toEqual([
      {
        kind: "view",
        endpoints: [
          {
            key: "0@10.1.2.3:8080",
            backendId: 0,
            address: "10.1.2.3",
            port: 8_080,
            family: 4,
            state: "active",
            identity: undefined,
            locality: unknown,
            kind: "pod",
          },
          {
            key: "0@[fd00::7]:8080",
            backendId: 0,
            address: "fd00::7",
            port: 8_080,
            family: 6,
            state: "terminating",
            identity: { number: 70_000, labels: ["k8s:app=quotes"] },
            locality: { clusterNumber: undefined, cluster: "us", zone: "us-1a", node: "n1" },
            kind: "pod",
          },
          {
            key: "0@10.1.2.4:9090",
            backendId: 0,
            address: "10.1.2.4",
            port: 9_090,
            family: 4,
            state: "active",
            identity: { number: 65_600, labels: undefined },
            locality: unknown,
            kind: "pod",
          },
        ],
      },
    ]);
    expect(discovery.localCluster()).toEqual({ number: undefined, name: "eu" });
  });

  it("prefers the key with the port, and knows a service by every form of its name", async () => {
    const discovery = staticDiscovery({
      services: {
        "Quotes.Energy.svc.cluster.local": ["10.0.0.1"],
        "quotes.energy:8080": ["10.0.0.2"],
        "quotes.energy.svc.clusterset.local": ["10.0.0.3"],
        quotes: [],
      },
    });
    const first = async (host: string, port: number) => {
      const { told } = listen(discovery, target(host, port));
      await settle();
      return told[0]?.kind === "view" ? keysOf(told[0]) : told[0]?.kind;
    };
    expect(await first("quotes.energy", 80)).toEqual(["0@10.0.0.1:80"]);
    expect(await first("quotes.energy.svc", 8_080)).toEqual(["0@10.0.0.2:8080"]);
    expect(await first("quotes.energy.svc.clusterset.local", 8_080)).toEqual(["0@10.0.0.3:8080"]);
    expect(await first("quotes", 80)).toEqual([]);
    expect(await first("other.energy", 80)).toBe("absent");
    expect(await discovery.knows(target("quotes.energy"))).toBe(true);
    expect(await discovery.knows(target("quotes"))).toBe(true);
    expect(await discovery.knows(target("other.energy"))).toBe(false);
  });

  it("lets an entry with its own port win over one that takes the asked port", async () => {
    const discovery = staticDiscovery({
      services: {
        "a.b": [
          { address: "10.0.0.1", port: 80, zone: "own" },
          { address: "10.0.0.1", zone: "asked" },
        ],
      },
    });
    const { told } = listen(discovery, target("a.b", 80));
    await settle();
    expect(told).toMatchObject([{ endpoints: [{ key: "0@10.0.0.1:80", locality: { zone: "own" } }] }]);
  });

  it("tells a watch what changes for it, and nothing else", async () => {
    const discovery = staticDiscovery({ services: { "a.b": ["10.0.0.1"], "c.d": ["10.0.0.9"] } });
    const { told } = listen(discovery, target("a.b"));
    const other = listen(discovery, target("c.d"));
    await settle();
    discovery.update({ "a.b": ["10.0.0.2"], "c.d": ["10.0.0.9"] });
    expect(told).toHaveLength(1);
    await settle();
    discovery.update({ "c.d": ["10.0.0.9"] });
    await settle();
    discovery.update({ "c.d": ["10.0.0.9"] });
    await settle();
    discovery.update({ "a.b": [], "c.d": ["10.0.0.9"] });
    await settle();
    expect(told.map((update) => [update.kind, keysOf(update)])).toEqual([
      ["view", ["0@10.0.0.1:80"]],
      ["view", ["0@10.0.0.2:80"]],
      ["absent", []],
      ["view", []],
    ]);
    expect(other.told).toHaveLength(1);
  });

  it("keeps the services when an update is wrong", async () => {
    const discovery = staticDiscovery({ services: { "a.b": ["10.0.0.1"] } });
    expect(() => discovery.update({ "a.b": ["10.0.0.300"] })).toThrow(/services\["a.b"\]\[0\] is "10.0.0.300"/);
    expect(await discovery.knows(target("a.b"))).toBe(true);
  });

  it("tells nothing of the endpoints after close, of the watch or of the discovery", async () => {
    const discovery = staticDiscovery({ services: { "a.b": ["10.0.0.1"] } });
    const first = listen(discovery, target("a.b"));
    const second = listen(discovery, target("a.b"));
    first.watch.close();
    await settle();
    discovery.update({ "a.b": ["10.0.0.2"] });
    await discovery.close();
    await discovery.close();
    const third = listen(discovery, target("a.b"));
    third.watch.refresh();
    third.watch.touch();
    const fourth = listen(discovery, target("a.b"));
    fourth.watch.close();
    expect(third.told).toEqual([]);
    await settle();
    discovery.update({ "a.b": ["10.0.0.3"] });
    await settle();
    expect([first.told.length, second.told.length, fourth.told.length]).toEqual([0, 1, 0]);
    expect(third.told).toEqual([{ kind: "unavailable", reason: CLOSED }]);
    expect(await discovery.knows(target("a.b"))).toBe(false);
  });

  it("belongs to one mesh", () => {
    const discovery = staticDiscovery({ services: {} });
    discovery.attach({ notify: () => undefined });
    expect(() => discovery.attach({ notify: () => undefined })).toThrow(
      expect.objectContaining({
        code: "ERR_ONEHOP_CONFIG",
        message: "a discovery belongs to one mesh; make another with staticDiscovery()",
      }),
    );
  });

  it("does not tell the rest when a listener closes its watch", async () => {
    const discovery = staticDiscovery({ services: { "a.b": ["10.0.0.1"] } });
    let calls = 0;
    const watch = discovery.watch(target("a.b"), () => {
      calls += 1;
      watch.close();
      discovery.update({ "a.b": ["10.0.0.2"] });
    });
    await settle();
    expect(calls).toBe(1);
  });
});

describe("readEndpointList", () => {
  const origin = { code: "ERR_ONEHOP_MALFORMED", label: "list.json" } as const;

  const cases: readonly [input: unknown, message: string][] = [
    [null, "the whole is null, but must be an object with the key services; correct it"],
    [[], "the whole is a list, but must be an object with the key services; correct it"],
    [{}, "services is missing; add it"],
    [{ service: {} }, "service is not a known key; did you mean services?"],
    [{ services: [] }, "services is a list, but must be an object with a key for each service; correct it"],
    [{ localCluster: "", services: {} }, 'localCluster is "", but must be the name of a cluster; correct it'],
    [{ services: { "a.b": "10.0.0.1" } }, 'services["a.b"] is "10.0.0.1", but must be a list of endpoints; correct it'],
    [{ services: { "a..b": [] } }, 'services["a..b"] is no service; write name.namespace or name.namespace:port'],
    [{ services: { "a.b:0": [] } }, 'services["a.b:0"] is no service; write name.namespace or name.namespace:port'],
    [
      { services: { "a.b:70000": [] } },
      'services["a.b:70000"] is no service; write name.namespace or name.namespace:port',
    ],
    [
      { services: { "a.b": [], "A.B.svc": [] } },
      'services["A.B.svc"] names the service a.b a second time; join the two',
    ],
    [{ services: { a: [5] } }, "services.a[0] is 5, but must be an object or a text such as 10.1.2.3:8080; correct it"],
    [
      { services: { a: ["10.0.0.1:0"] } },
      'services.a[0] is "10.0.0.1:0", but must be an address with a port from 1 to 65535, such as 10.1.2.3:8080 or [fd00::7]:8080; correct it',
    ],
    [
      { services: { a: ["[10.0.0.1]:80"] } },
      'services.a[0] is "[10.0.0.1]:80", but must be an address with a port from 1 to 65535, such as 10.1.2.3:8080 or [fd00::7]:8080; correct it',
    ],
    [{ services: { a: [{}] } }, "services.a[0].address is missing; add it"],
    [{ services: { a: [{ adress: "10.0.0.1" }] } }, "services.a[0].adress is not a known key; did you mean address?"],
    [
      { services: { a: [{ address: "10.0.0.1", weight: 1 }] } },
      "services.a[0].weight is not a known key; the known ones are address, port, cluster, zone, node, identity, state",
    ],
    [
      { services: { a: [{ address: "localhost" }] } },
      'services.a[0].address is "localhost", but must be an IP address such as 10.1.2.3 or fd00::7; correct it',
    ],
    [
      { services: { "a.b": ["10.0.0.1", { address: "10.0.0.2", port: 70_000 }] } },
      'services["a.b"][1].port is 70000, but must be a whole number from 1 to 65535; correct it',
    ],
    [
      { services: { a: [{ address: "10.0.0.2", state: "dead" }] } },
      'services.a[0].state is "dead", but must be one of active, terminating, quarantined, maintenance; correct it',
    ],
    [
      { services: { a: [{ address: "10.0.0.2", identity: 0 }] } },
      "services.a[0].identity is 0, but must be an identity: a whole number from 1 to 4294967295, or an object with the keys number and labels; correct it",
    ],
    [
      { services: { a: [{ address: "10.0.0.2", identity: { number: 1, labels: ["a", 5] } }] } },
      "services.a[0].identity.labels[1] is 5, but must be a text that is not empty; correct it",
    ],
    [
      { services: { a: ["10.0.0.2:80", { address: "10.0.0.2", port: 80 }] } },
      "services.a[1] repeats services.a[0] (10.0.0.2:80); remove one of them",
    ],
  ];
  it.each(cases)("refuses %j", (input, message) => {
    expect(() => readEndpointList(input, origin)).toThrow(`list.json: ${message}`);
  });

  it("takes names that objects have by nature for services like others", () => {
    const table = readEndpointList(JSON.parse('{"services":{"constructor":["10.0.0.1"]}}'), origin);
    expect(table.endpoints(target("constructor").service, 80)).toHaveLength(1);
    expect(table.endpoints(target("valueof").service, 80)).toBeUndefined();
    expect(() =>
      readEndpointList(JSON.parse('{"services":{"a":[{"address":"10.0.0.1","__proto__":{}}]}}'), origin),
    ).toThrow("services.a[0].__proto__ is not a known key");
  });

  it("takes any value, or refuses it with its own error", () => {
    const near = fc.letrec((tie) => ({
      endpoint: fc.oneof(
        fc.constantFrom("10.0.0.1", "10.0.0.2:80", "[::1]:9", "::1", ":", "[]:1"),
        fc.record(
          {
            address: fc.oneof(fc.ipV4(), fc.string()),
            port: fc.oneof(fc.nat(70_000), fc.double()),
            identity: tie("junk"),
          },
          { requiredKeys: [] },
        ),
        tie("junk"),
      ),
      junk: fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true }),
      list: fc.record({
        services: fc.dictionary(fc.oneof(fc.domain(), fc.string()), fc.array(tie("endpoint"), { maxLength: 3 })),
      }),
    }));
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.jsonValue(), near.list, near.junk), (input) => {
        try {
          const table = readEndpointList(input, origin);
          for (const endpoint of table.endpoints(target("a.b").service, 80) ?? [])
            expect(endpoint.port).toBeGreaterThan(0);
        } catch (error) {
          expect(isOnehopError(error) && error.code).toBe("ERR_ONEHOP_MALFORMED");
          expect((error as Error).message.length).toBeLessThan(1_000);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
