/**
 * A storm of changes for a stand-in agent, and the log of who was a member of which service when. Services `a` to `d`
 * have pods of their own, which never serve another one: a pod of `b` in a view of `a` is a proven tear. Services `e`
 * and `f` share pods that move between them.
 */
import type { Random } from "../../src/random.js";
import type { MapOperation } from "../../src/testing/agent-maps.js";
import type { AgentBackend } from "../../src/testing/agent-service.js";
import type { CiliumAgent } from "../../src/testing/cilium-agent.js";

export type StormService = (typeof STORM_SERVICES)[number];

export const STORM_SERVICES = ["a", "b", "c", "d", "e", "f"] as const;

/** Services whose pods move from one to the other. */
const SHARING: readonly StormService[] = ["e", "f"];

export const STORM_PORT = 8080;

export interface StormPod {
  readonly name: string;
  readonly address: string;
}

/** Pods of the services `a` to `d`, and those that `e` and `f` share. */
export const STORM_PODS: Readonly<Record<"a" | "b" | "c" | "d" | "shared", readonly StormPod[]>> = {
  a: podsOf("a", 51, 12),
  b: podsOf("b", 52, 12),
  c: podsOf("c", 53, 12),
  d: podsOf("d", 54, 12),
  shared: podsOf("shared", 55, 24),
};

function podsOf(name: string, block: number, count: number): readonly StormPod[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${name}-${index + 1}`,
    address: `127.${block}.0.${index + 1}`,
  }));
}

export function vipOf(service: StormService): { readonly address: string; readonly port: number } {
  return { address: `10.96.0.${STORM_SERVICES.indexOf(service) + 1}`, port: 80 };
}

/** The pods that may ever serve a service. */
export function podsFor(service: StormService): readonly StormPod[] {
  return STORM_PODS[service === "e" || service === "f" ? "shared" : service];
}

/** A pod was a member of a service from before the first write of its arrival until after the last of its removal. */
export interface Membership {
  readonly service: StormService;
  readonly address: string;
  readonly from: number;
  /** Infinity while it is one. */
  to: number;
}

/** What a storm did. */
export interface StormLog {
  readonly memberships: readonly Membership[];
  /** Every set of counted addresses that was ever declared, sorted and joined, by service. */
  readonly declared: Readonly<Record<StormService, readonly string[]>>;
}

/** Shares of the kinds of change, of 1; the rest are changes of membership. */
const DELETE_SHARE = 0.03;
const MOVE_SHARE = 0.01;
const RENUMBER_SHARE = 0.002;

/** Makes the changes, one write at a time. */
export class StormPlan {
  readonly #agent: CiliumAgent;
  readonly #random: Random;
  readonly #now: () => number;
  readonly #maySwap: () => boolean;
  readonly #members = new Map<StormService, Map<string, AgentBackend>>();
  readonly #open = new Map<string, Membership>();
  readonly #memberships: Membership[] = [];
  readonly #declared = new Map<StormService, Set<string>>();

  /**
   * @param now milliseconds of a clock that the one who checks the log has too
   * @param maySwap whether the maps may be replaced by new ones at this moment
   */
  constructor(agent: CiliumAgent, random: Random, now: () => number, maySwap: () => boolean) {
    this.#agent = agent;
    this.#random = random;
    this.#now = now;
    this.#maySwap = maySwap;
    for (const service of STORM_SERVICES) {
      this.#members.set(service, new Map());
      this.#declared.set(service, new Set());
    }
  }

  get log(): StormLog {
    const declared = Object.fromEntries([...this.#declared].map(([service, sets]) => [service, [...sets]]));
    return { memberships: this.#memberships, declared: declared as unknown as StormLog["declared"] };
  }

  /** Gives every service its first pods. */
  start(): void {
    for (const service of STORM_SERVICES) {
      const pods = podsFor(service);
      const half = pods.length / 2;
      const first = service === "f" ? pods.slice(half) : pods.slice(0, half);
      for (const _ of this.#update(service, new Map(first.map(({ address }) => [address, backendAt(address)]))));
    }
  }

  /** The writes of one more change. */
  *change(): Generator<MapOperation, void, void> {
    const dice = this.#random();
    if (dice < RENUMBER_SHARE) {
      if (this.#maySwap()) this.#agent.replaceMaps({ renumber: this.#random() < 0.5 });
    } else if (dice < RENUMBER_SHARE + MOVE_SHARE) yield* this.#move();
    else if (dice < RENUMBER_SHARE + MOVE_SHARE + DELETE_SHARE)
      yield* this.#deleteAndCreate(this.#oneOf(STORM_SERVICES));
    else yield* this.#churn(this.#oneOf(STORM_SERVICES));
  }

  /** Scales, replaces, or changes states; pods that are shared stay where they are. */
  *#churn(service: StormService): Generator<MapOperation, void, void> {
    const members = this.#membersOf(service);
    const isFixed = SHARING.includes(service);
    const next = new Map<string, AgentBackend>();
    const replaced = this.#random() < 0.5;
    for (const { address } of podsFor(service)) {
      const isMember = members.has(address);
      const stays = isFixed || this.#random() < (replaced ? 0.7 : 0.95) ? isMember : !isMember;
      if (stays) next.set(address, this.#backend(address));
    }
    // One at least is active, so that calls can be made.
    const [first = podsFor(service)[0]?.address ?? ""] = next.keys();
    next.set(first, backendAt(first));
    yield* this.#update(service, next);
  }

  /** One pod leaves its service and joins the other, in this order. */
  *#move(): Generator<MapOperation, void, void> {
    const [from, to] = this.#random() < 0.5 ? (["e", "f"] as const) : (["f", "e"] as const);
    const members = this.#membersOf(from);
    if (members.size <= 4) return;
    const address = this.#oneOf([...members.keys()]);
    yield* this.#update(from, new Map([...members].filter(([other]) => other !== address)));
    yield* this.#update(to, new Map([...this.#membersOf(to), [address, backendAt(address)]]));
  }

  *#deleteAndCreate(service: StormService): Generator<MapOperation, void, void> {
    const members = this.#membersOf(service);
    yield* this.#agent.deleteSteps(vipOf(service));
    yield* this.#update(service, members);
  }

  *#update(service: StormService, next: ReadonlyMap<string, AgentBackend>): Generator<MapOperation, void, void> {
    const before = this.#membersOf(service);
    const from = this.#now();
    for (const address of next.keys()) {
      if (before.has(address)) continue;
      const membership: Membership = { service, address, from, to: Number.POSITIVE_INFINITY };
      this.#memberships.push(membership);
      this.#open.set(`${service} ${address}`, membership);
    }
    this.#declared.get(service)?.add(countedOf([...next.values()]));
    yield* this.#agent.serviceSteps(vipOf(service), [...next.values()]);
    const to = this.#now();
    for (const address of before.keys()) {
      const membership = next.has(address) ? undefined : this.#open.get(`${service} ${address}`);
      if (membership !== undefined) membership.to = to;
    }
    this.#members.set(service, new Map(next));
  }

  #backend(address: string): AgentBackend {
    const dice = this.#random();
    if (dice < 0.1) return { ...backendAt(address), state: "terminating" };
    if (dice < 0.2) return { ...backendAt(address), state: "quarantined" };
    return backendAt(address);
  }

  #membersOf(service: StormService): ReadonlyMap<string, AgentBackend> {
    return this.#members.get(service) ?? new Map();
  }

  #oneOf<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.#random() * items.length)];
    if (item === undefined) throw new Error("nothing to choose from");
    return item;
  }
}

function backendAt(address: string): AgentBackend {
  return { address, port: STORM_PORT };
}

/** The addresses that take new connections, as one text: active ones, else terminating ones. */
function countedOf(backends: readonly AgentBackend[]): string {
  const inState = (wanted: string): readonly AgentBackend[] =>
    backends.filter(({ state = "active" }) => state === wanted);
  const active = inState("active");
  return (active.length > 0 ? active : inState("terminating"))
    .map(({ address }) => address)
    .sort()
    .join();
}
