import { describe, expect, it } from "vitest";
import type {
  Discovery,
  DiscoveryUpdate,
  DiscoveryWatch,
  ServiceAddresses,
  WatchTarget,
} from "../../src/discovery/discovery.js";
import { ServiceView, type ServiceViewOptions } from "../../src/discovery/service-view.js";
import { OnehopError } from "../../src/errors.js";
import type { MeshEvent, ViewState } from "../../src/model/event.js";
import { ManualClock } from "../support/manual-clock.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const GRACE_MS = 5_000;
const TTL_MS = 30_000;
const viewOf = (...ids: readonly number[]): DiscoveryUpdate => ({
  kind: "view",
  endpoints: ids.map((id) => makeEndpoint(id)),
});
const EMPTY: DiscoveryUpdate = { kind: "view", endpoints: [] };
const ABSENT: DiscoveryUpdate = { kind: "absent", reason: "no such frontend" };
const DOUBT: DiscoveryUpdate = { kind: "doubt", reason: "torn" };
const UNREADABLE: DiscoveryUpdate = {
  kind: "unavailable",
  reason: "seccomp",
  error: new OnehopError("ERR_ONEHOP_KERNEL", "seccomp"),
};
const PROXIED: DiscoveryUpdate = { kind: "service-address", reason: "L7 proxy", address: "10.96.7.7" };
const NOT_FOUND = new OnehopError("ERR_ONEHOP_NAME", "no such name", { reason: "not-found" });
const NO_ANSWER = new OnehopError("ERR_ONEHOP_NAME", "no answer", { reason: "no-answer" });

/** A view over a discovery and a resolver that do what they are told. */
class ViewRig {
  readonly clock = new ManualClock(1_000);
  readonly events: MeshEvent[] = [];
  readonly calls: string[] = [];
  /** Answers given one by one by the test, while `isSlow`. */
  readonly pending: { resolve: (answer: ServiceAddresses) => void; reject: (error: unknown) => void }[] = [];
  addresses: readonly string[] | Error = ["10.96.7.7"];
  isSlow = false;
  changes = 0;
  asked = 0;
  readonly view: ServiceView;
  #listener: (update: DiscoveryUpdate) => void = () => undefined;

  constructor(options: Partial<ServiceViewOptions> = {}) {
    const watch: DiscoveryWatch = {
      touch: () => this.calls.push("touch"),
      refresh: () => this.calls.push("refresh"),
      close: () => this.calls.push("close"),
    };
    const discovery: Discovery = {
      name: "test",
      attach: () => undefined,
      watch: (_, listener) => {
        this.calls.push("watch");
        this.#listener = listener;
        return watch;
      },
      knows: async () => true,
      localCluster: () => undefined,
      close: async () => undefined,
    };
    const target: WatchTarget = {
      service: { id: "a.b", name: "a", namespace: "b", domain: "cluster", host: "a.b" },
      port: 80,
      addresses: () => this.#resolve(),
    };
    this.view = new ServiceView(discovery, target, {
      clock: this.clock,
      notify: (event) => this.events.push(event),
      emptyGraceMs: GRACE_MS,
      dialService: false,
      onChange: () => {
        this.changes += 1;
      },
      ...options,
    });
  }

  #resolve(): Promise<ServiceAddresses> {
    this.asked += 1;
    if (this.isSlow) {
      return new Promise((resolve, reject) => {
        this.pending.push({ resolve, reject });
      });
    }
    if (this.addresses instanceof Error) return Promise.reject(this.addresses);
    return Promise.resolve({ addresses: this.addresses, ttlMs: TTL_MS });
  }

  async tell(...updates: readonly DiscoveryUpdate[]): Promise<void> {
    for (const update of updates) this.#listener(update);
    await this.clock.advanceAsync(0);
  }

  pass(ms: number): Promise<void> {
    return this.clock.advanceAsync(ms);
  }

  /** State, and the last part of each address that would be called. */
  get now(): readonly [ViewState, ...string[]] {
    const addresses = this.view.snapshot?.endpoints.map(({ address }) => address.replace(/^10\.0\.0\./, "")) ?? [];
    return [this.view.state, ...addresses];
  }

  get states(): ViewState[] {
    return this.events.filter((event) => event.type === "discovery").map(({ state }) => state);
  }
}

describe("a view that is adopted", () => {
  it("is a snapshot, with an event for it and for the state", async () => {
    const rig = new ViewRig();
    expect([rig.view.state, rig.view.snapshot, rig.asked]).toEqual(["pending", undefined, 0]);
    await rig.tell(viewOf(1, 2));
    expect(rig.now).toEqual(["endpoints", "1", "2"]);
    expect(rig.events.map(({ type }) => type)).toEqual(["endpoints", "discovery"]);
    expect(rig.events[0]).toMatchObject({ service: "a.b", port: 80, source: "test", generation: 1 });
    expect(rig.events[1]).toMatchObject({ state: "endpoints", previous: "pending", source: "test" });
  });

  it("T-48: told a thousand times changes nothing and tells nothing", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2));
    const { snapshot } = rig.view;
    const { changes } = rig;
    for (let round = 0; round < 1_000; round += 1) await rig.tell(viewOf(1, 2));
    expect(rig.view.snapshot).toBe(snapshot);
    expect([rig.changes, rig.events.length]).toEqual([changes, 2]);
  });
});

describe("a source that says the service is empty", () => {
  it("T-49: for 100 ms: the endpoints are kept, nothing fails", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2), EMPTY);
    expect(rig.now).toEqual(["stale", "1", "2"]);
    await rig.pass(100);
    await rig.tell(viewOf(1, 2));
    expect(rig.now).toEqual(["endpoints", "1", "2"]);
    await rig.pass(60_000);
    expect(rig.now).toEqual(["endpoints", "1", "2"]);
    expect(rig.states).toEqual(["endpoints", "stale", "endpoints"]);
    expect(rig.clock.timerCount).toBe(0);
  });

  it("T-49: for longer than the grace: empty, with an event", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2), EMPTY);
    await rig.pass(GRACE_MS - 1);
    expect(rig.now).toEqual(["stale", "1", "2"]);
    await rig.pass(1);
    expect(rig.now).toEqual(["empty"]);
    expect(rig.states).toEqual(["endpoints", "stale", "empty"]);
    await rig.tell(viewOf(3));
    expect(rig.now).toEqual(["endpoints", "3"]);
  });

  it("T-49: again and again, as a polling one does: the grace runs from the first time", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2));
    for (let second = 0; second < 5; second += 1) {
      await rig.tell(EMPTY);
      expect(rig.now).toEqual(["stale", "1", "2"]);
      await rig.pass(1_000);
    }
    expect(rig.now).toEqual(["empty"]);
  });

  it("T-49: and fails then: the grace goes on, since what was verified last is that it is empty", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2), EMPTY);
    await rig.pass(2_000);
    await rig.tell(UNREADABLE);
    await rig.pass(2_999);
    expect(rig.now).toEqual(["stale", "1", "2"]);
    await rig.pass(1);
    expect(rig.now).toEqual(["empty"]);
  });

  it("starts a new grace each time that there were endpoints in between", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1));
    for (let round = 0; round < 5; round += 1) {
      await rig.tell(EMPTY);
      await rig.pass(GRACE_MS - 1);
      await rig.tell(viewOf(1));
      await rig.pass(10);
    }
    expect(rig.now).toEqual(["endpoints", "1"]);
    expect(rig.view.snapshot?.generation).toBe(1);
  });

  it("at first: empty at once, and not dialled by its own address", async () => {
    const rig = new ViewRig();
    await rig.tell(EMPTY);
    expect([rig.now, rig.asked]).toEqual([["empty"], 0]);
  });

  it("with no grace: empty as soon as it says so", async () => {
    const rig = new ViewRig({ emptyGraceMs: 0 });
    await rig.tell(viewOf(1), EMPTY);
    await rig.pass(0);
    expect(rig.now).toEqual(["empty"]);
  });
});

describe("a source that does not know the service", () => {
  it("at first: the service's own address", async () => {
    const rig = new ViewRig();
    await rig.tell(ABSENT);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    expect(rig.view.snapshot).toMatchObject({ source: "service-address", endpoints: [{ kind: "service", port: 80 }] });
    expect(rig.view.reason).toBe("no such frontend");
  });

  it("any more: grace, then the service's own address", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1), ABSENT);
    await rig.pass(GRACE_MS - 1);
    expect(rig.now).toEqual(["stale", "1"]);
    await rig.pass(1);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
  });

  it("any more, and the name is gone: nothing is called that was given up", async () => {
    const rig = new ViewRig();
    rig.addresses = NOT_FOUND;
    await rig.tell(viewOf(1), ABSENT);
    await rig.pass(GRACE_MS);
    expect(rig.now).toEqual(["unavailable"]);
    expect(rig.view.error).toMatchObject({ code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE", cause: NOT_FOUND });
    rig.addresses = ["10.96.8.8"];
    await rig.pass(1_000);
    expect(rig.now).toEqual(["service-address", "10.96.8.8"]);
  });

  it("changes its mind between empty and absent: what it said last counts", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1), EMPTY);
    await rig.pass(2_000);
    await rig.tell(ABSENT);
    await rig.pass(3_000);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
  });
});

describe("a source that cannot be read", () => {
  it("T-49: keeps the last view for ever", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1, 2), UNREADABLE);
    await rig.pass(24 * 3_600_000);
    expect(rig.now).toEqual(["stale", "1", "2"]);
    expect([rig.view.reason, rig.view.error]).toEqual(["seccomp", UNREADABLE.error]);
    expect(rig.clock.timerCount).toBe(0);
    await rig.tell(viewOf(1, 2));
    expect([rig.now, rig.view.error]).toEqual([["endpoints", "1", "2"], undefined]);
  });

  it("from the start: the service's own address, followed by its DNS lifetime", async () => {
    const rig = new ViewRig();
    await rig.tell(UNREADABLE);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    expect(rig.view.error).toBe(UNREADABLE.error);
    rig.addresses = ["10.96.8.8", "fd00::8"];
    await rig.pass(TTL_MS);
    expect(rig.now).toEqual(["service-address", "10.96.8.8", "fd00::8"]);
    expect(rig.view.snapshot?.endpoints.map(({ family }) => family)).toEqual([4, 6]);
    expect(rig.states, "told once").toEqual(["service-address"]);
    await rig.tell(viewOf(1));
    expect(rig.now).toEqual(["endpoints", "1"]);
    expect(rig.clock.timerCount, "nobody asks for the address any more").toBe(0);
  });

  it("nor resolved: a typed error, asked again every second", async () => {
    const rig = new ViewRig();
    rig.addresses = NO_ANSWER;
    await rig.tell(UNREADABLE);
    expect(rig.now).toEqual(["unavailable"]);
    expect(rig.view.error?.message).toBe("no endpoints (seccomp) and no service address: no answer");
    const { asked } = rig;
    await rig.pass(3_000);
    expect(rig.asked - asked).toBe(3);
    rig.addresses = ["10.96.7.7"];
    await rig.pass(1_000);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    expect(rig.view.error, "the source's own error, not the resolver's").toBe(UNREADABLE.error);
  });

  it("whose name has no answer for a while: the address that was dialled is kept", async () => {
    const rig = new ViewRig();
    await rig.tell(UNREADABLE);
    rig.addresses = NO_ANSWER;
    await rig.pass(10 * TTL_MS);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
  });

  it("whose name is gone: its address is not dialled any more", async () => {
    const rig = new ViewRig();
    await rig.tell(UNREADABLE);
    rig.addresses = NOT_FOUND;
    await rig.pass(TTL_MS);
    expect(rig.now).toEqual(["unavailable"]);
  });
});

describe("a doubt", () => {
  it("is an event, and the last view stays", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1), DOUBT, { kind: "doubt", reason: "torn again", error: new Error("bytes") });
    expect(rig.now).toEqual(["stale", "1"]);
    expect(rig.events.filter(({ type }) => type === "doubt")).toMatchObject([
      { service: "a.b", port: 80, source: "test", reason: "torn" },
      { reason: "torn again", error: { message: "bytes" } },
    ]);
    await rig.tell(viewOf(1));
    expect(rig.states).toEqual(["endpoints", "stale", "endpoints"]);
  });

  it("at first: the service's own address until there is a view", async () => {
    const rig = new ViewRig();
    await rig.tell(DOUBT);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    await rig.tell(viewOf(1));
    expect(rig.now).toEqual(["endpoints", "1"]);
  });
});

describe("a service that is to be dialled by its own address", () => {
  it("is, also after a view, and is left again for one", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1), PROXIED);
    expect([rig.now, rig.view.reason]).toEqual([["service-address", "10.96.7.7"], "L7 proxy"]);
    await rig.pass(60_000);
    await rig.tell(viewOf(1));
    expect(rig.now).toEqual(["endpoints", "1"]);
  });

  it("leaves the pods at once, also while its name cannot be resolved", async () => {
    const rig = new ViewRig();
    rig.addresses = new Error("DNS is away");
    await rig.tell(viewOf(1), PROXIED);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    await rig.pass(60_000);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
  });

  it("ends a grace that runs", async () => {
    const rig = new ViewRig();
    await rig.tell(viewOf(1), EMPTY, PROXIED);
    await rig.pass(GRACE_MS + 1);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
  });

  it("by configuration: no watch is made", async () => {
    const rig = new ViewRig({ dialService: true });
    await rig.pass(0);
    expect(rig.now).toEqual(["service-address", "10.96.7.7"]);
    rig.view.touch();
    rig.view.refresh();
    rig.view.close();
    expect(rig.calls).toEqual([]);
  });
});

describe("answers that come late", () => {
  it("of a course that was left are ignored", async () => {
    const rig = new ViewRig();
    rig.isSlow = true;
    await rig.tell(UNREADABLE, viewOf(1));
    rig.pending[0]?.resolve({ addresses: ["10.96.7.7"], ttlMs: 1_000 });
    await rig.pass(0);
    expect([rig.now, rig.clock.timerCount]).toEqual([["endpoints", "1"], 0]);
  });

  it("of an older question are ignored, whatever they say", async () => {
    const rig = new ViewRig();
    rig.isSlow = true;
    await rig.tell(UNREADABLE, { ...UNREADABLE, reason: "still" });
    rig.pending[1]?.resolve({ addresses: ["10.96.8.8"], ttlMs: TTL_MS });
    await rig.pass(0);
    rig.pending[0]?.reject(NOT_FOUND);
    await rig.pass(0);
    expect(rig.now).toEqual(["service-address", "10.96.8.8"]);
    expect(rig.clock.timerCount).toBe(1);
  });

  it("after close are ignored, and so is the source", async () => {
    const rig = new ViewRig();
    rig.isSlow = true;
    await rig.tell(UNREADABLE);
    rig.view.close();
    rig.pending[0]?.resolve({ addresses: ["10.96.7.7"], ttlMs: 1_000 });
    await rig.tell(viewOf(1));
    expect([rig.now, rig.events, rig.clock.timerCount]).toEqual([["pending"], [], 0]);
  });
});

describe("the life of a view", () => {
  it("hands touch, refresh and close to its watch", () => {
    const rig = new ViewRig();
    rig.view.touch();
    rig.view.refresh();
    rig.view.close();
    expect(rig.calls).toEqual(["watch", "touch", "refresh", "close"]);
  });

  it.each([[[viewOf(1), EMPTY]], [[UNREADABLE]]])("leaves no timer behind after close", async (updates) => {
    const rig = new ViewRig();
    await rig.tell(...updates);
    expect([rig.clock.timerCount, rig.clock.foregroundTimerCount]).toEqual([1, 0]);
    rig.view.close();
    expect(rig.clock.timerCount).toBe(0);
  });
});
