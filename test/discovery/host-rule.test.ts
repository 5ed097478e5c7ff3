import { describe, expect, it } from "vitest";
import type { Discovery, WatchTarget } from "../../src/discovery/discovery.js";
import { type HostDecision, HostRule } from "../../src/discovery/host-rule.js";
import { OnehopError } from "../../src/errors.js";
import { ManualClock } from "../support/manual-clock.js";

const TTL_MS = 30_000;

class RuleRig {
  readonly clock = new ManualClock(1_000);
  readonly asked: string[] = [];
  readonly known = new Set<string>();
  ttlMs = TTL_MS;
  failure: unknown;
  /** The discovery cannot tell. */
  blindness: unknown;
  /** What the search list makes of a host. */
  found: string | undefined;
  readonly rule: HostRule;

  constructor(configured: readonly string[] = ["quotes.energy", "api.example.com"], clusterDomain = "cluster.local") {
    const discovery = {
      name: "test",
      knows: async ({ service, port, addresses }: WatchTarget): Promise<boolean> => {
        await addresses();
        if (this.blindness !== undefined) throw this.blindness;
        return this.known.has(`${service.id}:${port}`);
      },
    } as Partial<Discovery> as Discovery;
    this.rule = new HostRule({
      configured,
      clusterDomain,
      discovery,
      clock: this.clock,
      addresses: async (host) => {
        this.asked.push(host);
        if (this.failure !== undefined) throw this.failure;
        return { addresses: ["10.96.0.1"], ttlMs: this.ttlMs, name: this.found ?? host };
      },
    });
  }

  /** The id of the service, or `foreign`; a decision that needs a look-up starts with `?`. */
  async decide(host: string, port = 80): Promise<string> {
    const decision = this.rule.decide(host, port);
    const text = (settled: HostDecision): string => (settled === "foreign" ? settled : settled.id);
    return decision instanceof Promise ? `?${text(await decision)}` : text(decision);
  }
}

describe("hosts that are decided at once", () => {
  it.each([
    ["quotes.energy", "quotes.energy"],
    ["QUOTES.Energy.", "quotes.energy"],
    ["quotes.energy.svc", "quotes.energy"],
    ["quotes.energy.svc.cluster.local", "quotes.energy"],
    ["api.example.com", "api.example.com"],
    ["other.shop.svc", "other.shop"],
    ["other.shop.svc.cluster.local.", "other.shop"],
    ["quotes.energy.svc.clusterset.local", "quotes.energy.svc.clusterset.local"],
    ["www.example.com", "foreign"],
    ["10.96.0.1", "foreign"],
    ["[fd00::1]", "foreign"],
    ["a.b.svc.other.domain", "foreign"],
    ["a.b.c", "foreign"],
    ["_http._tcp.a", "foreign"],
    ["", "foreign"],
    [".", "foreign"],
  ])("%s is %s", async (host, expected) => {
    const rig = new RuleRig();
    expect(await rig.decide(host)).toBe(expected);
    expect(rig.asked, "without a look-up").toEqual([]);
  });

  it("the name in the cluster set is another service than that of the cluster, also where one is configured", async () => {
    const rig = new RuleRig(["quotes.energy.svc.clusterset.local"]);
    expect(await rig.decide("quotes.energy.svc.clusterset.local")).toBe("quotes.energy.svc.clusterset.local");
    expect(await rig.decide("quotes.energy")).toBe("?foreign");
    const decision = rig.rule.refOf("quotes.energy.svc.clusterset.local");
    expect(decision).toMatchObject({ domain: "clusterset", host: "quotes.energy.svc.clusterset.local" });
  });

  it("another cluster domain", async () => {
    const rig = new RuleRig([], "prod.example");
    expect(await rig.decide("a.b.svc.prod.example")).toBe("a.b");
    expect(await rig.decide("a.b.svc.cluster.local")).toBe("foreign");
  });
});

describe("hosts that are decided by their answer", () => {
  it("is a service when its address is a frontend, on that port", async () => {
    const rig = new RuleRig();
    rig.known.add("other.shop:80").add("bare:8080");
    expect(await rig.decide("other.shop")).toBe("?other.shop");
    expect(await rig.decide("other.shop", 81)).toBe("?foreign");
    expect(await rig.decide("bare", 8080)).toBe("?bare");
    expect(await rig.decide("example.com")).toBe("?foreign");
    expect(rig.asked).toEqual(["other.shop", "other.shop", "bare", "example.com"]);
  });

  it("is remembered for the lifetime of the answer, then asked anew", async () => {
    const rig = new RuleRig();
    rig.known.add("other.shop:80");
    await rig.decide("other.shop");
    expect(await rig.decide("OTHER.shop.")).toBe("other.shop");
    rig.clock.advance(TTL_MS - 1);
    expect(await rig.decide("other.shop")).toBe("other.shop");
    expect(rig.asked).toHaveLength(1);
    rig.clock.advance(1);
    rig.known.clear();
    expect(await rig.decide("other.shop")).toBe("?foreign");
    expect(await rig.decide("other.shop")).toBe("foreign");
    expect(rig.asked).toHaveLength(2);
  });

  it("is asked once for calls that come together", async () => {
    const rig = new RuleRig();
    rig.known.add("other.shop:80");
    const answers = await Promise.all(Array.from({ length: 50 }, () => rig.decide("other.shop")));
    expect(new Set(answers)).toEqual(new Set(["?other.shop"]));
    expect(rig.asked).toHaveLength(1);
  });

  it.each([
    ["the name does not resolve", new OnehopError("ERR_ONEHOP_NAME", "no such name", { reason: "not-found" })],
    ["the maps cannot be read", new OnehopError("ERR_ONEHOP_KERNEL", "seccomp", { reason: "seccomp" })],
    ["anything else fails", "a string that was thrown"],
  ])("is foreign for a short while when %s", async (_, failure) => {
    const rig = new RuleRig();
    rig.known.add("other.shop:80");
    rig.failure = failure;
    expect(await rig.decide("other.shop")).toBe("?foreign");
    rig.failure = undefined;
    expect(await rig.decide("other.shop")).toBe("foreign");
    rig.clock.advance(5_000);
    expect(await rig.decide("other.shop")).toBe("?other.shop");
  });

  it("stays a service while the discovery cannot tell", async () => {
    const rig = new RuleRig();
    rig.known.add("other.shop:80");
    expect(await rig.decide("other.shop")).toBe("?other.shop");
    rig.blindness = new OnehopError("ERR_ONEHOP_DISCOVERY_UNAVAILABLE", "the maps are being filled");
    rig.clock.advance(TTL_MS);
    expect(await rig.decide("other.shop")).toBe("?other.shop");
    rig.clock.advance(5_000);
    rig.failure = new OnehopError("ERR_ONEHOP_NAME", "no answer", { reason: "no-answer" });
    expect(await rig.decide("other.shop")).toBe("?other.shop");
    rig.clock.advance(5_000);
    rig.failure = new OnehopError("ERR_ONEHOP_NAME", "no such name", { reason: "not-found" });
    expect(await rig.decide("other.shop"), "gone for good").toBe("?foreign");
  });

  it("is a service where the discovery cannot tell and the search list found one of the cluster", async () => {
    const rig = new RuleRig();
    rig.blindness = new OnehopError("ERR_ONEHOP_KERNEL", "seccomp", { reason: "seccomp" });
    rig.found = "other.shop.svc.cluster.local";
    expect(await rig.decide("other.shop")).toBe("?other.shop");
    rig.found = "example.com";
    expect(await rig.decide("example.com")).toBe("?foreign");
  });

  it("localhost is never asked for", async () => {
    const rig = new RuleRig();
    expect(await rig.decide("localhost")).toBe("foreign");
    expect(rig.asked).toEqual([]);
  });

  it("is asked each time for an answer that may not be kept", async () => {
    const rig = new RuleRig();
    rig.ttlMs = 0;
    await rig.decide("other.shop");
    expect(await rig.decide("other.shop")).toBe("?foreign");
    expect(rig.asked).toHaveLength(2);
  });

  it("is not remembered for more hosts than there is room for", async () => {
    const rig = new RuleRig();
    for (let host = 0; host < 10_001; host += 1) await rig.decide(`h${host}.example`);
    expect(await rig.decide("h0.example")).toBe("?foreign");
    expect(await rig.decide("h10000.example")).toBe("foreign");
  });
});

describe("refOf", () => {
  it("makes a service of any host, for those that configuration names", () => {
    const { rule } = new RuleRig();
    expect(rule.refOf("API.example.com.")).toEqual({
      id: "api.example.com",
      name: "api.example.com",
      namespace: undefined,
      domain: "cluster",
      host: "api.example.com",
    });
  });
});
