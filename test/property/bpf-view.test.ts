import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DiscoveryUpdate } from "../../src/discovery/discovery.js";
import type { LookupHook } from "../../src/kernel/fake-kernel.js";
import { crossKeyReads, mixedReads, vanishingReads } from "../../src/kernel/fake-tears.js";
import { seededRandom } from "../../src/random.js";
import type { AgentBackend } from "../../src/testing/agent-service.js";
import { BpfRig, OTHER_VIP, PINS, VIP } from "../support/bpf-rig.js";

const POLL_MS = 5;

const backend = fc.record({
  id: fc.integer({ min: 1, max: 7 }),
  state: fc.constantFrom("active" as const, "active" as const, "terminating" as const, "quarantined" as const),
});
const backends = fc.uniqueArray(backend, { selector: ({ id }) => id, maxLength: 5 });
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("set" as const), backends }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("other" as const), backends }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const) }) },
);
const history = fc.array(
  fc.record({
    operation,
    /** Look-ups of the reader between two writes. */
    lookups: fc.integer({ min: 1, max: 6 }),
    /** Milliseconds until the next operation. */
    pauseMs: fc.constantFrom(1, 2, 3, 6, 11, 40),
  }),
  { minLength: 1, maxLength: 25 },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;
const version = fc.constantFrom("1.17" as const, "1.20" as const);

interface Member {
  readonly backendId: number | undefined;
  readonly address: string;
  readonly state?: AgentBackend["state"];
}

/**
 * The members that calls go to, as text: the active ones, else the terminating ones. What stands behind the counted
 * slots may be missing without harm.
 */
function textOfMembers(members: readonly Member[]): string {
  const active = members.filter(({ state }) => state === "active");
  const called = active.length > 0 ? active : members.filter(({ state }) => state === "terminating");
  return called
    .map(({ backendId, address, state }) => `${backendId}@${address} ${state}`)
    .sort()
    .join(", ");
}

function membersOf(text: string): string[] {
  return text === "" ? [] : text.split(", ").map((member) => member.replace(/ .*/, ""));
}

function textOf(update: DiscoveryUpdate): string {
  return update.kind === "view" ? textOfMembers(update.endpoints) : update.kind;
}

/** An agent whose writes come between a reader's look-ups, and what its frontend truly was at each time. */
class History {
  readonly rig: BpfRig;
  /** What the frontend was from when on, oldest first. */
  readonly truths: { readonly fromMs: number; readonly text: string }[] = [{ fromMs: 0, text: "absent" }];
  readonly told: { readonly atMs: number; readonly update: DiscoveryUpdate }[] = [];
  #steps: Iterator<unknown> | undefined;
  #every = 1;
  #seen = 0;
  /** A backend has one state, whichever frontends use it. */
  readonly #states = new Map<number, AgentBackend["state"]>();

  constructor(options: ConstructorParameters<typeof BpfRig>[0]) {
    this.rig = new BpfRig({ pollMs: POLL_MS, ...options });
    this.rig.kernel.beforeLookup(() => {
      this.#seen += 1;
      if (this.#seen % this.#every === 0) this.#steps?.next();
    });
    const { clock, discovery } = this.rig;
    discovery.watch(this.rig.target(), (update) => this.told.push({ atMs: clock.now(), update }));
  }

  /** Starts an operation; its writes happen as the reader looks. */
  begin(next: Operation, lookups: number): void {
    const { agent } = this.rig;
    const wanted = this.#wantedBy(next);
    this.#steps =
      next.kind === "delete"
        ? agent.deleteSteps(VIP)[Symbol.iterator]()
        : agent.serviceSteps(next.kind === "set" ? VIP : OTHER_VIP, wanted)[Symbol.iterator]();
    this.#every = lookups;
  }

  /** Lets the operation come to its end and notes what the frontend is now. */
  end(next: Operation): void {
    while (this.#steps !== undefined && this.#steps.next().done !== true);
    this.#steps = undefined;
    if (next.kind === "other") return;
    const fromMs = this.rig.clock.now();
    if (next.kind === "delete") this.truths.push({ fromMs, text: "absent" });
    else this.truths.push({ fromMs, text: this.#textOf(agentBackends(next.backends)) });
  }

  /** Stops the operation where it is, as an agent that dies. */
  die(): void {
    this.#steps = undefined;
  }

  /** What the frontend was at any time in the stretch. */
  truthsIn(fromMs: number, toMs: number): string[] {
    return this.truths
      .filter((truth, index) => truth.fromMs <= toMs && (this.truths[index + 1]?.fromMs ?? toMs) >= fromMs)
      .map(({ text }) => text);
  }

  #wantedBy(next: Operation): AgentBackend[] {
    if (next.kind === "delete") return [];
    if (next.kind === "other") {
      return agentBackends(next.backends.map(({ id }) => ({ id, state: this.#states.get(id) })));
    }
    for (const { id, state } of next.backends) this.#states.set(id, state);
    return agentBackends(next.backends);
  }

  #textOf(wanted: readonly AgentBackend[]): string {
    const { agent } = this.rig;
    return textOfMembers(
      wanted.map(({ address, port, state }) => ({ backendId: agent.backendIdOf(address, port), address, state })),
    );
  }
}

function agentBackends(given: readonly { id: number; state: AgentBackend["state"] }[]): AgentBackend[] {
  return given.map(({ id, state }) => ({ address: `10.1.0.${id}`, port: 8080, state: state ?? "active" }));
}

/**
 * Look-ups that go wrong as real ones do: each once, because it takes a write in that very moment, so that the next
 * look-up of the same key is right again.
 */
function tears(seed: number, ratio: number): LookupHook {
  const random = seededRandom(seed);
  const kinds = [crossKeyReads, mixedReads, vanishingReads].map((kind) => kind({ ratio: 1, random }));
  const torn = new Set<string>();
  return (lookup) => {
    const key = `${lookup.path} ${lookup.key.join()}`;
    if (torn.delete(key) || random() >= ratio || !Object.values(PINS).includes(lookup.path)) return undefined;
    torn.add(key);
    return kinds[Math.floor(random() * kinds.length)]?.(lookup);
  };
}

describe("a view of maps that are written while they are read", () => {
  it("is always one that the writer had, has never a pod in it that is none, and is the last one in the end", async () => {
    let adoptions = 0;
    await fc.assert(
      fc.asyncProperty(
        version,
        history,
        fc.integer(),
        fc.constantFrom(0, 0.01, 0.1),
        async (writer, sequence, seed, ratio) => {
          const world = new History({ version: writer });
          const { rig } = world;
          const heal = rig.kernel.onLookup(tears(seed, ratio));
          for (const { operation: next, lookups, pauseMs } of sequence) {
            world.begin(next, lookups);
            await rig.pass(1);
            world.end(next);
            await rig.pass(pauseMs);
          }
          heal();
          await rig.pass(100);
          let adopted = "nothing";
          for (const { atMs, update } of world.told) {
            if (update.kind === "doubt") continue;
            expect(["view", "absent"]).toContain(update.kind);
            // The one before again: one look at the bytes it was adopted from, which a torn look-up may show for longer.
            if (textOf(update) === adopted) continue;
            adopted = textOf(update);
            // A poll takes 20 ms at most, and the writer was at work for one before the truth was noted.
            const truths = world.truthsIn(atMs - 25, atMs + 2);
            // A look-up that is torn in just the way that repeats a moment of the writer's work shows that moment.
            if (ratio === 0 || adopted === "absent") expect(truths).toContain(adopted);
            else for (const member of membersOf(adopted)) expect(truths.flatMap(membersOf)).toContain(member);
            adoptions += 1;
          }
          const last = world.told.at(-1)?.update;
          expect(last === undefined ? "nothing" : textOf(last)).toBe(world.truths.at(-1)?.text);
          await rig.discovery.close();
          expect([rig.openReaders, rig.clock.timerCount]).toEqual([0, 0]);
        },
      ),
      { numRuns: 150 },
    );
    expect(adoptions).toBeGreaterThan(300);
  });

  it("holds only pods of before or after when the writer dies anywhere in between, and is never empty for it", async () => {
    await fc.assert(
      fc.asyncProperty(
        version,
        backends,
        backends,
        fc.nat(30),
        fc.constantFrom(3, 30, 300),
        async (writer, before, after, steps, pauseMs) => {
          const world = new History({ version: writer });
          const { rig } = world;
          const [first, second] = [before, after].map((given) => ({ kind: "set" as const, backends: given }));
          if (first === undefined || second === undefined) return;
          world.begin(first, 1);
          world.end(first);
          await rig.pass(50);
          const writes = rig.agent.serviceSteps(VIP, agentBackends(after))[Symbol.iterator]();
          for (let step = 0; step < steps; step += 1) writes.next();
          const from = world.told.length;
          await rig.pass(pauseMs);
          const members = new Set([...before, ...after].map(({ id }) => `10.1.0.${id}`));
          const isCallable = (given: typeof before): boolean =>
            given.length > 0 && given.every(({ state }) => state !== "quarantined");
          for (const { update } of world.told.slice(from)) {
            expect(["view", "doubt"]).toContain(update.kind);
            if (update.kind !== "view") continue;
            for (const { address } of update.endpoints) expect(members).toContain(address);
            if (isCallable(before) && isCallable(after)) expect(update.endpoints.length).toBeGreaterThan(0);
          }
          world.end(second);
          rig.agent.setService(VIP, agentBackends(after));
          await rig.pass(100);
          world.truths.pop();
          world.end(second);
          const last = world.told.at(-1)?.update;
          expect(last === undefined ? "nothing" : textOf(last)).toBe(world.truths.at(-1)?.text);
          await rig.discovery.close();
        },
      ),
      { numRuns: 150 },
    );
  });
});
