import { LOCAL_SEED_MS, REMOTE_SEED_MS } from "../policy/endpoint-cost.js";
import { twoChoices } from "../policy/two-choices.js";
import type { Random } from "../random.js";
import type { EndpointLoad } from "./endpoint-load.js";

/** What a call tells the pick about itself. */
export interface PickHints {
  /** Endpoints this call has tried, newest last. */
  readonly tried: readonly EndpointLoad[];
  /** Leave the tier of this endpoint if another has an untried one: an attempt elsewhere is due. */
  readonly leaveTierOf: EndpointLoad | undefined;
  /** Do not leave the tier of this endpoint as long as the tier is there. */
  readonly stayInTierOf: EndpointLoad | undefined;
}

/** Hints of a call's first attempt. */
export const FIRST_PICK: PickHints = Object.freeze({
  tried: [],
  leaveTierOf: undefined,
  stayInTierOf: undefined,
});

/** How often a tier's median latency is taken anew, in milliseconds. */
const SEED_LIFETIME_MS = 1_000;

/** One failover tier: endpoints that are equally near. */
class Tier {
  readonly #seedDefaultMs: number;
  #seedMs: number;
  #seedUntil = Number.NEGATIVE_INFINITY;
  readonly loads: readonly EndpointLoad[];

  constructor(loads: readonly EndpointLoad[], seedDefaultMs: number) {
    this.loads = loads;
    this.#seedDefaultMs = seedDefaultMs;
    this.#seedMs = seedDefaultMs;
  }

  /** The median of the tier's latencies: what a new pod is taken to need, so that it is neither shunned nor flooded. */
  seedMs(now: number): number {
    if (now < this.#seedUntil) return this.#seedMs;
    const known = this.loads
      .map((load) => load.latencyMs(now))
      .filter((latency) => latency !== undefined)
      .sort((a, b) => a - b);
    this.#seedMs = known[known.length >> 1] ?? this.#seedDefaultMs;
    this.#seedUntil = now + SEED_LIFETIME_MS;
    return this.#seedMs;
  }

  choose(loads: readonly EndpointLoad[], now: number, random: Random): EndpointLoad | undefined {
    const seedMs = this.seedMs(now);
    return twoChoices(loads, (load) => load.cost(seedMs, now), random);
  }
}

/**
 * The momentary choice of a service's endpoints: which may be picked, and in which order of tiers. Immutable; a change of
 * the view makes a new one, so a pick under way never sees half a change.
 */
export class Picker {
  readonly #tiers: readonly Tier[];
  readonly #lastResort: Tier;

  /**
   * @param tiers active endpoints by failover tier, nearest first
   * @param lastResort terminating endpoints: used when nothing else is left, as Cilium does (KEP-1669)
   */
  constructor(tiers: readonly (readonly EndpointLoad[])[], lastResort: readonly EndpointLoad[]) {
    this.#tiers = tiers.map((loads, index) => new Tier(loads, index === 0 ? LOCAL_SEED_MS : REMOTE_SEED_MS));
    this.#lastResort = new Tier(lastResort, LOCAL_SEED_MS);
  }

  /** Whether there is anything to pick. */
  get isEmpty(): boolean {
    return this.#tiers.length === 0 && this.#lastResort.loads.length === 0;
  }

  /** The tiers as lists, the last resort not among them. */
  get tiers(): readonly (readonly EndpointLoad[])[] {
    return this.#tiers.map((tier) => tier.loads);
  }

  /** Terminating endpoints, used when no active one is left. */
  get lastResort(): readonly EndpointLoad[] {
    return this.#lastResort.loads;
  }

  /** Position of the endpoint's tier; -1 when it is in none. */
  tierOf(load: EndpointLoad): number {
    return this.#tiers.findIndex((tier) => tier.loads.includes(load));
  }

  /** The cost that a pick would compare now. */
  cost(load: EndpointLoad, now: number): number {
    const tier = this.#tiers[this.tierOf(load)] ?? this.#lastResort;
    return load.cost(tier.seedMs(now), now);
  }

  /**
   * Picks by two random choices: an untried endpoint of the nearest tier (or of another tier where the hints say so),
   * else again one that was tried, but not the last one if there is another. Terminating endpoints are picked only when
   * no other is left.
   *
   * @returns undefined when the service has no endpoint that may be called
   */
  pick(hints: PickHints, now: number, random: Random): EndpointLoad | undefined {
    const usable = this.#tiers.length > 0 ? this.#tiers : [this.#lastResort];
    const nearest = usable[0];
    if (hints.tried.length === 0) return nearest?.choose(nearest.loads, now, random);
    const order = this.#inOrder(usable, hints);
    const last = hints.tried.at(-1);
    return (
      chooseFirst(order, (load) => !hints.tried.includes(load), now, random) ??
      chooseFirst(order, (load) => load !== last, now, random) ??
      chooseFirst(order, () => true, now, random)
    );
  }

  /**
   * Where a tier is to be left, tiers that the call has not tried come first: with two clusters down, going back to the
   * first one would use up the attempts before the third is asked. The tier to leave comes last.
   */
  #inOrder(tiers: readonly Tier[], { tried, leaveTierOf, stayInTierOf }: PickHints): readonly Tier[] {
    if (tiers.length < 2) return tiers;
    if (stayInTierOf !== undefined) {
      const own = tiers.find((tier) => tier.loads.includes(stayInTierOf));
      return own === undefined ? tiers.slice(0, 1) : [own];
    }
    if (leaveTierOf === undefined) return tiers;
    const rank = (tier: Tier): number => {
      if (tier.loads.includes(leaveTierOf)) return 2;
      return tier.loads.some((load) => tried.includes(load)) ? 1 : 0;
    };
    return [...tiers].sort((a, b) => rank(a) - rank(b));
  }
}

function chooseFirst(
  tiers: readonly Tier[],
  accepts: (load: EndpointLoad) => boolean,
  now: number,
  random: Random,
): EndpointLoad | undefined {
  for (const tier of tiers) {
    const chosen = tier.choose(tier.loads.filter(accepts), now, random);
    if (chosen !== undefined) return chosen;
  }
  return undefined;
}

/** A picker with nothing in it. */
export const EMPTY_PICKER: Picker = new Picker([], []);
