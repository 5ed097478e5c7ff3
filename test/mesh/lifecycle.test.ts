import { describe, expect, it } from "vitest";
import { bpfDiscovery, fileDiscovery, staticDiscovery } from "../../src/discovery.js";
import { createMesh, type Discovery, type DiscoveryUpdate } from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";

/** A discovery that says what the test says, when it says it. */
function silentDiscovery(): Discovery & { tell(update: DiscoveryUpdate): void; readonly targets: string[] } {
  const listeners = new Set<(update: DiscoveryUpdate) => void>();
  const targets: string[] = [];
  return {
    name: "silent",
    targets,
    attach() {},
    watch(target, listener) {
      targets.push(`${target.service.id}:${target.port}`);
      listeners.add(listener);
      return { touch() {}, refresh() {}, close: () => void listeners.delete(listener) };
    },
    knows: async () => false,
    localCluster: () => undefined,
    close: async () => {},
    tell(update) {
      for (const listener of listeners) listener(update);
    },
  };
}

describe("createMesh", () => {
  it("does nothing before it is asked", () => {
    const clock = new ManualClock();
    const discovery = silentDiscovery();
    createMesh({ clock, discovery, services: { "quotes.energy": {} } });
    expect(discovery.targets).toEqual([]);
    expect(clock.timerCount).toBe(0);
  });

  it.each([
    ["bpfDiscovery", () => bpfDiscovery()],
    ["fileDiscovery", () => fileDiscovery({ path: "/nowhere/services.json" })],
    ["staticDiscovery", () => staticDiscovery({ services: {} })],
  ])("refuses a discovery that another mesh has: %s", async (name, make) => {
    const discovery = make();
    const mesh = createMesh({ discovery });
    const refusal = { code: "ERR_ONEHOP_CONFIG", message: expect.stringContaining(`make another with ${name}()`) };
    expect(() => createMesh({ discovery })).toThrow(expect.objectContaining(refusal));
    await mesh.close();
    expect(() => createMesh({ discovery })).toThrow(expect.objectContaining(refusal));
  });

  it.each([["quotes.energy:8080"], ["http://quotes.energy"], ["no host"]])("refuses addresses of %j", (host) => {
    expect(() => createMesh({ discovery: silentDiscovery(), addresses: { [host]: ["10.96.7.7"] } })).toThrow(
      expect.objectContaining({
        code: "ERR_ONEHOP_CONFIG",
        message: expect.stringContaining(`options.addresses["${host}"]`),
      }),
    );
  });

  it("leaves a discovery free when it refuses the other options", async () => {
    const discovery = staticDiscovery({ services: {} });
    expect(() => createMesh({ discovery, services: { "http://x": {} } })).toThrow(/name\.namespace/);
    await createMesh({ discovery }).close();
  });

  it("ready waits for the first view of each configured service, on the port its name gives", async () => {
    const discovery = silentDiscovery();
    const mesh = createMesh({ discovery, services: { "quotes.energy": {}, "orders.shop:8080": {} } });
    let isReady = false;
    const ready = mesh.ready().then(() => {
      isReady = true;
    });
    await Promise.resolve();
    expect(discovery.targets).toEqual(["quotes.energy:80", "orders.shop:8080"]);
    expect(isReady).toBe(false);
    discovery.tell({ kind: "view", endpoints: [] });
    await ready;
    expect(isReady).toBe(true);
    await mesh.close();
  });

  it("ready waits on while neither endpoints nor an address can be had", async () => {
    const clock = new ManualClock();
    const discovery = silentDiscovery();
    const dns = { nameservers: ["127.0.0.1:1"], hostsPath: "/nonexistent", resolvConfPath: "/nonexistent" };
    const mesh = createMesh({ clock, discovery, dns, services: { "quotes.energy": {} } });
    const states: string[] = [];
    mesh.on("discovery", ({ state }) => states.push(state));
    let isReady = false;
    const ready = mesh.ready().then(() => {
      isReady = true;
    });
    discovery.tell({ kind: "absent", reason: "not there" });
    for (let turn = 0; turn < 400 && states.length === 0; turn += 1) await clock.advanceAsync(100);
    expect(states).toEqual(["unavailable"]);
    expect(isReady).toBe(false);
    discovery.tell({ kind: "service-address", reason: "there now", address: "10.96.7.7" });
    await ready;
    expect(isReady).toBe(true);
    await mesh.close();
  });

  it("ready keeps the process alive while it waits, and leaves nothing behind", async () => {
    const clock = new ManualClock();
    const discovery = silentDiscovery();
    const mesh = createMesh({ clock, discovery, services: { "quotes.energy": {} } });
    const controller = new AbortController();
    const reason = new Error("enough");
    const ready = mesh.ready({ signal: controller.signal });
    expect(clock.foregroundTimerCount).toBe(1);
    controller.abort(reason);
    await expect(ready).rejects.toBe(reason);
    expect(clock.foregroundTimerCount).toBe(0);
  });

  it("close settles what waits, and everything after it is refused", async () => {
    const mesh = createMesh({ discovery: silentDiscovery(), services: { "quotes.energy": {} } });
    const ready = mesh.ready();
    const endpoints = mesh.service("quotes.energy").endpoints();
    const closed = mesh.close();
    await expect(ready).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await expect(endpoints).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await closed;
    await expect(mesh.ready()).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await expect(mesh.service("quotes.energy").explain()).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await expect(mesh.request("http://quotes.energy/")).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    await expect(mesh.fetch("http://quotes.energy/")).rejects.toMatchObject({
      name: "TypeError",
      cause: { code: "ERR_ONEHOP_CLOSED" },
    });
    await expect(mesh.close()).resolves.toBeUndefined();
  });

  it("close ends calls that do not finish within the drain time", async () => {
    const clock = new ManualClock();
    const discovery = silentDiscovery();
    const mesh = createMesh({ clock, discovery, defaults: { drainTimeoutMs: 500 }, services: { "quotes.energy": {} } });
    const call = mesh.request("http://quotes.energy/");
    call.catch(() => undefined);
    await Promise.resolve();
    let isClosed = false;
    const closed = mesh.close().then(() => {
      isClosed = true;
    });
    await clock.advanceAsync(499);
    expect(isClosed).toBe(false);
    await clock.advanceAsync(1);
    await closed;
    await expect(call).rejects.toMatchObject({ code: "ERR_ONEHOP_CLOSED" });
    expect(clock.timerCount).toBe(0);
  });

  it("drops services that are not called any more, and keeps configured ones", async () => {
    const clock = new ManualClock();
    const discovery = silentDiscovery();
    const mesh = createMesh({ clock, discovery, idleServiceMs: 60_000, services: { "quotes.energy": {} } });
    for (const name of ["quotes.energy", "orders.shop.svc"]) {
      const endpoints = mesh.service(name).endpoints();
      discovery.tell({ kind: "view", endpoints: [] });
      await endpoints;
    }
    await clock.advanceAsync(100_000);
    for (const name of ["quotes.energy", "orders.shop.svc"]) {
      const endpoints = mesh.service(name).endpoints();
      discovery.tell({ kind: "view", endpoints: [] });
      await endpoints;
    }
    expect(discovery.targets).toEqual(["quotes.energy:80", "orders.shop:80", "orders.shop:80"]);
    await mesh.close();
  });

  it.each([[""], [":80"], ["quotes.energy:0"], ["quotes.energy:70000"]])("refuses the service name %j", (name) => {
    const mesh = createMesh({ discovery: silentDiscovery() });
    expect(() => mesh.service(name)).toThrow(/name\.namespace/);
  });
});
