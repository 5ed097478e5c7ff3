import { describe, expect, it } from "vitest";
import { IPCACHE_MAPS } from "../../src/cilium/cilium-maps.js";
import { encodeIpcacheValue } from "../../src/cilium/ipcache-map.js";
import { lookUpIdentity } from "../../src/discovery/identity-lookup.js";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import { createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { DIRECTORY } from "../support/bpf-rig.js";

const POD = "10.1.0.1";
const [NEWER] = IPCACHE_MAPS;
const PATH = `${DIRECTORY}/${NEWER.pin}`;

function ipcache() {
  const kernel = createFakeKernel();
  const agent = createCiliumAgent({ maker: kernel, directory: DIRECTORY, families: [4] });
  agent.start();
  const reader = kernel.open(PATH, NEWER.shape);
  return { kernel, agent, of: (address: string) => lookUpIdentity(reader, address) };
}

const valueWith = (identity: number): Uint8Array =>
  encodeIpcacheValue(
    {
      identity,
      tunnelEndpoint: undefined,
      encryptKey: undefined,
      skipTunnel: false,
      hasTunnel: undefined,
      remoteCluster: undefined,
    },
    2,
  );

describe("lookUpIdentity", () => {
  it("gives the identity of a pod and the node behind it", () => {
    const { agent, of } = ipcache();
    agent.setIdentity(POD, 70_000, { node: "172.18.0.5" });
    expect(of(POD)).toEqual({ identity: { number: 70_000, labels: undefined }, node: "172.18.0.5" });
    expect(of("10.1.0.2")).toEqual({ identity: undefined, node: undefined });
  });

  it.each([
    ["world", 2],
    ["world of IPv4", 9],
    ["world of IPv6", 10],
    ["no identity", 0],
    ["an address range", (1 << 24) + 5],
  ])("T-43: takes a covering prefix for unknown: %s", (_, number) => {
    const { agent, of } = ipcache();
    agent.setIdentity("10.0.0.0", number, { prefixLength: 8 });
    expect(of(POD).identity).toBeUndefined();
  });

  it.each([
    ["host", 1],
    ["kube-dns", 102],
    ["a pod of cluster 0", 256],
    ["a pod of cluster 255", 255 * 65_536 + 300],
  ])("knows %s", (_, number) => {
    const { agent, of } = ipcache();
    agent.setIdentity(POD, number);
    expect(of(POD).identity?.number).toBe(number);
  });

  it("prefers the pod's own entry to one that covers it", () => {
    const { agent, of } = ipcache();
    agent.setIdentity("0.0.0.0", 2, { prefixLength: 0 });
    agent.setIdentity("10.1.0.0", (1 << 24) + 5, { prefixLength: 24 });
    agent.setIdentity(POD, 70_000);
    expect(of(POD).identity?.number).toBe(70_000);
  });

  it("reads until two in a row agree: one torn look-up is not believed", () => {
    for (const torn of [1, 2]) {
      const { kernel, agent, of } = ipcache();
      agent.setIdentity(POD, 70_000);
      let reads = 0;
      kernel.onLookup(() => {
        reads += 1;
        return reads === torn ? valueWith(80_000) : undefined;
      });
      expect(of(POD).identity?.number).toBe(70_000);
      expect(reads).toBeLessThanOrEqual(4);
    }
  });

  it("nor is one that missed", () => {
    for (const torn of [1, 2]) {
      const { kernel, agent, of } = ipcache();
      agent.setIdentity(POD, 70_000);
      let reads = 0;
      kernel.onLookup(() => {
        reads += 1;
        return reads === torn ? "absent" : undefined;
      });
      expect(of(POD).identity?.number).toBe(70_000);
    }
  });
});
