import { describe, expect, it } from "vitest";
import { decodeBackend } from "../../src/cilium/backend-map.js";
import { decodeServiceSlot } from "../../src/cilium/service-map.js";
import { FrontendPass, passContent } from "../../src/discovery/frontend-pass.js";
import { CiliumMapSet } from "../../src/discovery/map-set.js";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake-kernel.js";
import { type CiliumAgent, createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { DIRECTORY, PINS, pods, serviceKey, VIP } from "../support/bpf-rig.js";

function readable(): { kernel: FakeKernel; agent: CiliumAgent; pass: FrontendPass; backendBytes: number } {
  const kernel = createFakeKernel();
  const agent = createCiliumAgent({ maker: kernel, directory: DIRECTORY });
  agent.start();
  const maps = new CiliumMapSet(kernel, DIRECTORY).family(4);
  return {
    kernel,
    agent,
    pass: new FrontendPass(maps, VIP.address, VIP.port),
    backendBytes: maps.backends.info.valueSize,
  };
}

describe("FrontendPass", () => {
  it("reads nothing of a frontend that is not there", () => {
    const { pass, backendBytes } = readable();
    pass.read();
    expect(passContent(pass.bytes, backendBytes)).toEqual({ isPresent: false });
  });

  it("reads the master, each slot and each backend, and gives them back", () => {
    const { agent, pass, backendBytes } = readable();
    agent.setService(VIP, [...pods(1, 2), { address: "10.1.0.3", port: 8080, state: "terminating" }]);
    pass.read();
    const content = passContent(pass.bytes, backendBytes);
    if (!content.isPresent) throw new Error("nothing was read");
    expect(content).toMatchObject({ protocol: "tcp", scope: "external", master: { count: 2, qcount: 1, revNat: 1 } });
    expect(content.slots.map(({ slot, service }) => [slot, decodeServiceSlot(service.value).backendId])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(content.slots.map(({ backend }) => decodeBackend(backend.value).state)).toEqual([
      "active",
      "active",
      "terminating",
    ]);
  });

  it("is equal to itself while nothing changes, and differs for any change", () => {
    const { agent, pass } = readable();
    agent.setService(VIP, pods(1, 2));
    pass.read();
    const before = pass.bytes.slice();
    pass.read();
    expect(pass.equals(before)).toBe(true);
    for (const backends of [
      pods(1, 3),
      pods(1, 2, 3),
      pods(1),
      [{ ...pods(1)[0], state: "terminating" }, ...pods(2)],
    ]) {
      agent.setService(VIP, backends as ReturnType<typeof pods>);
      pass.read();
      expect(pass.equals(before)).toBe(false);
    }
    agent.deleteService(VIP);
    pass.read();
    expect(pass.equals(before)).toBe(false);
  });

  it("tells a missing entry from one of zeros", () => {
    const { kernel, agent, pass, backendBytes } = readable();
    agent.setService(VIP, pods(1, 2));
    const undo = kernel.onLookup(({ path, value }) =>
      path === PINS.backends && value !== undefined ? new Uint8Array(value.length) : undefined,
    );
    pass.read();
    const zeros = pass.bytes.slice();
    undo();
    kernel.onLookup(({ path }) => (path === PINS.backends ? "absent" : undefined));
    pass.read();
    expect(pass.equals(zeros)).toBe(false);
    const content = passContent(pass.bytes, backendBytes);
    expect(content.isPresent && content.slots.map(({ backend }) => backend.isPresent)).toEqual([false, false]);
  });

  it("grows with the frontend and shrinks again", () => {
    const { agent, pass, backendBytes } = readable();
    const slots = (): number => {
      pass.read();
      const content = passContent(pass.bytes, backendBytes);
      return content.isPresent ? content.slots.length : -1;
    };
    agent.setService(VIP, pods(1));
    expect(slots()).toBe(1);
    agent.setService(VIP, pods(...Array.from({ length: 250 }, (_, id) => id)));
    expect(slots()).toBe(250);
    agent.setService(VIP, pods(1, 2));
    expect(slots()).toBe(2);
  });

  it("starts at the master again after a look-up that failed", () => {
    const { kernel, agent, pass, backendBytes } = readable();
    agent.setService(VIP, pods(1, 2));
    const key = Buffer.from(serviceKey(2));
    const undo = kernel.onLookup((lookup) => {
      if (key.equals(lookup.key)) throw new Error("EIO");
      return undefined;
    });
    expect(() => pass.read()).toThrow("EIO");
    undo();
    pass.read();
    expect(passContent(pass.bytes, backendBytes)).toMatchObject({ isPresent: true, master: { count: 2 } });
  });
});
