import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BackendState, type Endpoint, endpointAddress, endpointKey } from "../../src/model/endpoint.js";
import type { Identity } from "../../src/model/identity.js";
import { clusterLabel, UNKNOWN_LOCALITY } from "../../src/model/locality.js";
import { diffSnapshots, nextSnapshot, type Snapshot } from "../../src/model/snapshot.js";

function pod(backendId: number, changes: Partial<Endpoint> = {}): Endpoint {
  const address = `10.0.0.${backendId}`;
  return {
    key: endpointKey(backendId, address, 80),
    backendId,
    address,
    port: 80,
    family: 4,
    state: "active",
    identity: undefined,
    locality: UNKNOWN_LOCALITY,
    kind: "pod",
    ...changes,
  };
}

function identity(number: number, ...labels: string[]): Identity {
  return { number, labels };
}

describe("nextSnapshot", () => {
  it("starts at generation 1, sorted by key, each key once, the last one winning", () => {
    const late = pod(2, { state: "terminating" });
    const snapshot = nextSnapshot(undefined, "bpf", [pod(3), pod(2), late, pod(1)]);
    expect(snapshot.generation).toBe(1);
    expect(snapshot.source).toBe("bpf");
    expect(snapshot.endpoints.map(({ backendId }) => backendId)).toEqual([1, 2, 3]);
    expect(snapshot.endpoints[1]).toBe(late);
  });

  it("is the one before when nothing changed, in any order", () => {
    const first = nextSnapshot(undefined, "bpf", [pod(1), pod(2)]);
    expect(nextSnapshot(first, "bpf", [pod(2), pod(1)])).toBe(first);
  });

  it("is a new one when only the source changed, with the same endpoints", () => {
    const first = nextSnapshot(undefined, "bpf", [pod(1)]);
    const second = nextSnapshot(first, "dns", [pod(1)]);
    expect(second).toMatchObject({ generation: 2, source: "dns" });
    expect(second.endpoints[0]).toBe(first.endpoints[0]);
  });

  it("keeps unchanged endpoints as the same objects", () => {
    const first = nextSnapshot(undefined, "bpf", [pod(1), pod(2)]);
    const second = nextSnapshot(first, "bpf", [pod(1), pod(2, { state: "terminating" }), pod(3)]);
    expect(second.generation).toBe(2);
    expect(second.endpoints[0]).toBe(first.endpoints[0]);
    expect(second.endpoints[1]).not.toBe(first.endpoints[1]);
  });

  it("takes a new backend id under the same address for a new pod", () => {
    const first = nextSnapshot(undefined, "bpf", [pod(1)]);
    const reborn = pod(1, { backendId: 9, key: endpointKey(9, "10.0.0.1", 80) });
    const diff = diffSnapshots(first, nextSnapshot(first, "bpf", [reborn]));
    expect(diff.added).toEqual([reborn]);
    expect(diff.removed).toEqual([pod(1)]);
    expect(diff.changed).toEqual([]);
  });

  it.each([
    ["state", { state: "quarantined" }],
    ["kind", { kind: "service" }],
    ["identity", { identity: identity(300) }],
    ["cluster number", { locality: { ...UNKNOWN_LOCALITY, clusterNumber: 2 } }],
    ["cluster", { locality: { ...UNKNOWN_LOCALITY, cluster: "eu" } }],
    ["zone", { locality: { ...UNKNOWN_LOCALITY, zone: "a" } }],
    ["node", { locality: { ...UNKNOWN_LOCALITY, node: "10.9.9.9" } }],
  ] as [string, Partial<Endpoint>][])("notices another %s", (_name, changes) => {
    const first = nextSnapshot(undefined, "bpf", [pod(1)]);
    const second = nextSnapshot(first, "bpf", [pod(1, changes)]);
    expect(diffSnapshots(first, second).changed).toEqual([{ before: pod(1), after: pod(1, changes) }]);
  });

  it.each([
    ["k8s:a=1", "k8s:a=2"],
    ["k8s:a=1,k8s:b=2", undefined],
    [undefined, ""],
  ])("notices other labels: %j, %j", (before, after) => {
    const labelled = (text: string | undefined): Endpoint =>
      pod(1, { identity: { number: 300, labels: text === undefined ? undefined : [text] } });
    const first = nextSnapshot(undefined, "bpf", [labelled(before)]);
    expect(nextSnapshot(first, "bpf", [labelled(after)])).not.toBe(first);
  });

  it("tells one label with a comma from two labels", () => {
    const first = nextSnapshot(undefined, "bpf", [pod(1, { identity: identity(300, "cidr:a,b") })]);
    expect(nextSnapshot(first, "bpf", [pod(1, { identity: identity(300, "cidr:a", "b") })])).not.toBe(first);
  });
});

describe("diffSnapshots", () => {
  it("has everything as added at first", () => {
    const snapshot = nextSnapshot(undefined, "bpf", [pod(1), pod(2)]);
    expect(diffSnapshots(undefined, snapshot)).toEqual({ added: [pod(1), pod(2)], removed: [], changed: [] });
  });

  it("applied to the view before gives the view after", () => {
    const states = fc.constantFrom<BackendState>("active", "terminating");
    const view = fc.uniqueArray(fc.tuple(fc.nat(12), states), { selector: ([id]) => id, maxLength: 12 });
    const take = (previous: Snapshot | undefined, pods: [number, BackendState][]): Snapshot =>
      nextSnapshot(
        previous,
        "bpf",
        pods.map(([id, state]) => pod(id, { state })),
      );
    fc.assert(
      fc.property(view, view, (old, young) => {
        const before = take(undefined, old);
        const after = take(before, young);
        const { added, removed, changed } = diffSnapshots(before, after);
        const gone = new Set([...removed, ...changed.map((change) => change.before)]);
        const rebuilt = [
          ...before.endpoints.filter((endpoint) => !gone.has(endpoint)),
          ...added,
          ...changed.map((change) => change.after),
        ];
        expect(new Set(rebuilt)).toEqual(new Set(after.endpoints));
        expect(after === before).toBe(added.length + removed.length + changed.length === 0);
        for (const change of changed) expect(change.before.key).toBe(change.after.key);
      }),
    );
  });
});

describe("names of endpoints and clusters", () => {
  it("keys tell pods apart, addresses are for dialling", () => {
    expect(endpointKey(34, "fd00::1", 80)).toBe("34@[fd00::1]:80");
    expect(endpointAddress({ address: "10.0.0.1", port: 80 })).toBe("10.0.0.1:80");
  });

  it("clusters are called by name, else by number", () => {
    expect(clusterLabel(UNKNOWN_LOCALITY)).toBeUndefined();
    expect(clusterLabel({ ...UNKNOWN_LOCALITY, clusterNumber: 0 })).toBe("#0");
    expect(clusterLabel({ ...UNKNOWN_LOCALITY, clusterNumber: 2, cluster: "eu-west-1" })).toBe("eu-west-1");
  });
});
