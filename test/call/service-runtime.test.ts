import { describe, expect, it } from "vitest";
import { ServiceRuntime } from "../../src/call/service-runtime.js";
import type { Discovery, DiscoveryUpdate, WatchTarget } from "../../src/discovery/discovery.js";
import type { Endpoint } from "../../src/model/endpoint.js";
import type { MeshEvent } from "../../src/model/event.js";
import { seededRandom } from "../../src/random.js";
import { settleService } from "../../src/service-policy.js";
import { ManualClock } from "../support/manual-clock.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const OTHER = 80_000;

function started(expectIdentity?: { numbers: number[] }) {
  const clock = new ManualClock();
  const events: MeshEvent[] = [];
  const calls: string[] = [];
  const local: { number: number | undefined } = { number: 1 };
  let listener: (update: DiscoveryUpdate) => void = () => undefined;
  const discovery: Discovery = {
    name: "test",
    attach: () => undefined,
    watch: (_, given) => {
      listener = given;
      return {
        touch: () => calls.push("touch"),
        refresh: () => calls.push("refresh"),
        close: () => calls.push("close"),
      };
    },
    knows: async () => true,
    localCluster: () => ({ number: local.number, name: undefined }),
    close: async () => undefined,
  };
  const target: WatchTarget = {
    service: { id: "a.b", name: "a", namespace: "b", domain: "cluster", host: "a.b" },
    port: 80,
    addresses: async () => {
      throw new Error("no such name");
    },
  };
  const runtime = new ServiceRuntime({
    target,
    policy: settleService(expectIdentity === undefined ? {} : { expectIdentity }),
    discovery,
    cluster: undefined,
    clock,
    random: seededRandom(1),
    notify: (event) => events.push(event),
    observer: undefined,
  });
  const tell = (...endpoints: readonly Endpoint[]): void => listener({ kind: "view", endpoints });
  return { runtime, clock, events, calls, local, tell, say: (update: DiscoveryUpdate) => listener(update) };
}

describe("ServiceRuntime", () => {
  it("tells waiting calls of the first view, once, when it can be picked from", () => {
    const { runtime, tell } = started();
    const log: string[] = [];
    const gone = { viewReady: () => log.push("gone") };
    runtime.waitForView({ viewReady: () => log.push(`ready ${runtime.balancer.picker.isEmpty}`) });
    runtime.waitForView(gone);
    runtime.stopWaiting(gone);
    expect(runtime.isSettled).toBe(false);
    tell(makeEndpoint(1));
    tell(makeEndpoint(1), makeEndpoint(2));
    expect([runtime.isSettled, log]).toEqual([true, ["ready false"]]);
  });

  it("tells its view at most once a second that it is called", () => {
    const { runtime, clock, calls } = started();
    for (let ms = 0; ms < 3_000; ms += 10) {
      clock.advance(10);
      runtime.use();
    }
    expect(calls).toEqual(["touch", "touch", "touch"]);
    expect(runtime.lastUsedAt).toBe(3_000);
    runtime.refresh();
    runtime.close();
    expect(calls.slice(3)).toEqual(["refresh", "close"]);
  });

  it("sorts the clusters anew when the own one becomes known", () => {
    const { runtime, clock, local, tell } = started();
    local.number = undefined;
    tell(makeEndpoint(1, { clusterNumber: 1 }), makeEndpoint(2, { clusterNumber: 2 }));
    expect(runtime.balancer.picker.tiers).toHaveLength(1);
    local.number = 2;
    clock.advance(1_000);
    runtime.use();
    expect(runtime.balancer.picker.tiers.map((tier) => tier.map(({ endpoint }) => endpoint.backendId))).toEqual([
      [2],
      [1],
    ]);
  });

  it("tells whoever wants to know which endpoints drain", () => {
    const { runtime, tell } = started();
    const drained: string[] = [];
    runtime.onDrain((key) => drained.push(key));
    tell(makeEndpoint(1), makeEndpoint(2));
    tell(makeEndpoint(2));
    expect(drained).toEqual([makeEndpoint(1).key]);
  });

  it("says why nothing can be called", async () => {
    const empty = started();
    empty.tell();
    expect(empty.runtime.unavailableError()).toMatchObject({
      code: "ERR_ONEHOP_NO_ENDPOINTS",
      message: "a.b:80 has no endpoint that may be called (the service has no endpoints)",
    });

    const refused = started({ numbers: [70_000] });
    refused.tell(makeEndpoint(1, {}, { number: OTHER, labels: undefined }), {
      ...makeEndpoint(2),
      state: "quarantined",
    });
    expect(refused.runtime.unavailableError().message).toContain(
      "(2 known, none active, 1 refused for their identity)",
    );

    const blind = started();
    blind.say({ kind: "unavailable", reason: "seccomp" });
    await blind.clock.advanceAsync(0);
    expect(blind.runtime.unavailableError()).toMatchObject({ code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE" });
  });
});
