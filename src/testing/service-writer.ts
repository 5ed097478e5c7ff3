import { encodeBackend, encodeBackendKey } from "../cilium/backend-map.js";
import type { CiliumVersion } from "../cilium/cilium-versions.js";
import type { Protocol } from "../cilium/protocol.js";
import { encodeReverseNat, encodeReverseNatKey } from "../cilium/reverse-nat-map.js";
import { SERVICE_FLAGS } from "../cilium/service-flags.js";
import {
  encodeServiceKey,
  encodeServiceMaster,
  encodeServiceSlot,
  type ServiceKey,
  type ServiceMaster,
} from "../cilium/service-map.js";
import type { AgentMap, AgentMaps, MapOperation } from "./agent-maps.js";
import { AgentNumbers, type NumberedFrontend } from "./agent-numbers.js";
import {
  type AgentBackend,
  type AgentFrontend,
  backendKey,
  canonical,
  type FrontendName,
  type PlannedBackend,
  plannedBackends,
  planSlots,
  type SlotPlan,
} from "./agent-service.js";

/** Bits that only the master carries: in a slot the second one means something else. */
const MASTER_ONLY = SERVICE_FLAGS.sourceRange | SERVICE_FLAGS.quarantined;

/** Types of frontends whose address gets no wildcard entry: ClusterIPs and LoadBalancers do. */
const WITHOUT_WILDCARD =
  SERVICE_FLAGS.externalIp | SERVICE_FLAGS.nodePort | SERVICE_FLAGS.hostPort | SERVICE_FLAGS.localRedirect;

/**
 * Writes frontends into the maps one operation at a time, in the order of Cilium's agent: each step of the generators
 * here is one write, done when the step is taken. Whoever stops in the middle leaves the maps as an agent does that
 * dies there; the next update of the frontend mends them.
 *
 * From 1.18 on the order is that of `updateFrontend` and `deleteFrontend` in `pkg/loadbalancer/reconciler`: orphaned
 * backends go first and the master comes near the end, so that a slot may name a backend that is gone. Up to 1.17 it is
 * that of `pkg/service` and `pkg/maps/lbmap`, which delete backends last. Every slot is written at each update, also
 * those that stay the same. Maps that no reader of onehop looks at (maglev, affinity, source ranges) are left out.
 */
export class ServiceWriter {
  readonly #maps: AgentMaps;
  readonly #version: CiliumVersion;
  readonly #numbers = new AgentNumbers();
  /** Frontends by address that a wildcard entry stands for. */
  readonly #wildcards = new Map<string, Set<string>>();

  constructor(maps: AgentMaps, version: CiliumVersion) {
    this.#maps = maps;
    this.#version = version;
  }

  /** The id of a backend; undefined when it has none. */
  backendIdOf(address: string, port: number, protocol: Protocol): number | undefined {
    return this.#numbers.backend({ address, port, protocol: this.#written(protocol) })?.id;
  }

  /** The number of a frontend; undefined when it has none. */
  revNatOf(frontend: FrontendName): number | undefined {
    return this.#numbers.frontend(frontend)?.revNat;
  }

  /** The maps are new and empty: everything has to be written again, with new numbers when `renumber`. */
  forgetWritten(renumber: boolean): void {
    this.#wildcards.clear();
    this.#numbers.forgetWritten(renumber);
  }

  /** Brings a frontend to the desired state. */
  *update(frontend: AgentFrontend, backends: readonly AgentBackend[]): Generator<MapOperation, void, void> {
    const known = this.#acquire(frontend);
    const planned = plannedBackends(backends, known.name.protocol, this.#version);
    const wanted = new Set(planned.map(backendKey));
    if (this.#version.orphanBackends === "first") {
      yield* this.#deleteOrphans(known, wanted);
      const plan = this.#plan(planned);
      yield* this.#writeBackendsAndSlots(known, frontend, plan);
      yield* this.#writeHead(known, frontend, plan);
      yield* this.#writeWildcard(known, flagsOf(frontend));
      yield* this.#deleteSlots(known, plan.slots.length + 1);
      this.#numbers.settle(known, wanted, plan.slots.length);
      return;
    }
    for (const backend of planned) this.#numbers.acquireBackend(backend);
    const plan = this.#plan(planned);
    for (const backend of planned) yield* this.#writeBackend(known, backend);
    for (const [index, backend] of plan.slots.entries()) yield this.#writeSlot(known, frontend, backend, index + 1);
    yield* this.#writeHead(known, frontend, plan);
    yield* this.#deleteSlots(known, plan.slots.length + 1);
    yield* this.#deleteOrphans(known, wanted);
    this.#numbers.settle(known, wanted, plan.slots.length);
  }

  /** Removes a frontend; one that is not known is left alone. */
  *delete(name: FrontendName): Generator<MapOperation, void, void> {
    const known = this.#numbers.frontend(name);
    if (known === undefined) return;
    const none = new Set<string>();
    const isOrphansFirst = this.#version.orphanBackends === "first";
    if (isOrphansFirst) yield* this.#deleteOrphans(known, none);
    yield* this.#deleteSlots(known, 0);
    const reverseNat = this.#maps.reverseNat(known.family);
    yield reverseNat.delete(`reverse NAT ${known.revNat}`, encodeReverseNatKey(known.revNat));
    yield* this.#deleteWildcard(known);
    if (!isOrphansFirst) yield* this.#deleteOrphans(known, none);
    this.#numbers.settle(known, none, 0);
    this.#numbers.releaseFrontend(known);
  }

  #written(protocol: Protocol): Protocol {
    return this.#version.writesProtocol ? protocol : "any";
  }

  #acquire(frontend: FrontendName): NumberedFrontend {
    const { address, port, protocol = "tcp", scope = "external" } = frontend;
    const written = { address: canonical(address), port, protocol: this.#written(protocol), scope };
    return this.#numbers.acquireFrontend(frontend, written);
  }

  #plan(planned: readonly PlannedBackend[]): SlotPlan {
    return planSlots(planned, this.#version, (backend) => this.#numbers.acquireBackend(backend).id);
  }

  *#writeBackendsAndSlots(
    known: NumberedFrontend,
    frontend: AgentFrontend,
    plan: SlotPlan,
  ): Generator<MapOperation, void, void> {
    for (const [index, backend] of plan.slots.entries()) {
      yield* this.#writeBackend(known, backend);
      yield this.#writeSlot(known, frontend, backend, index + 1);
    }
    for (const backend of plan.inMaintenance) yield* this.#writeBackend(known, backend);
  }

  /** Writes a backend that is new or changed. */
  *#writeBackend(frontend: NumberedFrontend, backend: PlannedBackend): Generator<MapOperation, void, void> {
    const known = this.#numbers.use(frontend, backend);
    if (known.written?.state === backend.state && known.written.zone === backend.zone) return;
    const map = this.#maps.backends(known.family);
    const operation = map.update(`backend ${known.id}`, encodeBackendKey(known.id), encodeBackend(backend));
    known.written = backend;
    yield operation;
  }

  *#deleteOrphans(known: NumberedFrontend, wanted: ReadonlySet<string>): Generator<MapOperation, void, void> {
    for (const { backend, release } of this.#numbers.orphans(known, wanted)) {
      const map = this.#maps.backends(backend.family);
      const operation = map.delete(`backend ${backend.id}`, encodeBackendKey(backend.id));
      release();
      yield operation;
    }
  }

  #writeSlot(known: NumberedFrontend, frontend: AgentFrontend, backend: PlannedBackend, slot: number): MapOperation {
    const { id } = this.#numbers.acquireBackend(backend);
    const own = backend.state === "quarantined" ? SERVICE_FLAGS.quarantined : 0;
    const flags = this.#version.writesSlotFlags ? (flagsOf(frontend) & ~MASTER_ONLY) | own : 0;
    const value = encodeServiceSlot({ backendId: id, revNat: known.revNat, flags });
    known.slots = Math.max(known.slots, slot);
    return this.#services(known).update(`slot ${slot}`, serviceKey(known, slot), value);
  }

  /** Reverse NAT and master. */
  *#writeHead(known: NumberedFrontend, frontend: AgentFrontend, plan: SlotPlan): Generator<MapOperation, void, void> {
    const { revNat, name } = known;
    yield this.#maps
      .reverseNat(known.family)
      .update(`reverse NAT ${revNat}`, encodeReverseNatKey(revNat), encodeReverseNat(name));
    const master: ServiceMaster = {
      count: plan.count,
      qcount: this.#version.writesQcount ? plan.slots.length - plan.count : 0,
      revNat,
      flags: flagsOf(frontend),
      algorithm: this.#version.writesAlgorithm ? (frontend.algorithm ?? "node-default") : "node-default",
      affinityTimeoutS: frontend.affinityTimeoutS ?? 0,
      l7ProxyPort: frontend.l7ProxyPort,
    };
    yield this.#services(known).update("master", serviceKey(known, 0), encodeServiceMaster(master));
  }

  /** Deletes the slots from `first` on, in rising order; slot 0 is the master. */
  *#deleteSlots(known: NumberedFrontend, first: number): Generator<MapOperation, void, void> {
    for (let slot = first; slot <= known.slots; slot += 1) {
      yield this.#services(known).delete(slot === 0 ? "master" : `slot ${slot}`, serviceKey(known, slot));
    }
  }

  /** An address has one wildcard entry, written with its first ClusterIP or LoadBalancer frontend. */
  *#writeWildcard(known: NumberedFrontend, flags: number): Generator<MapOperation, void, void> {
    const { address, scope } = known.name;
    if (!this.#version.writesWildcards || scope !== "external" || (flags & WITHOUT_WILDCARD) !== 0) return;
    const users = this.#wildcards.get(address) ?? new Set();
    if (users.has(known.key)) return;
    const master: ServiceMaster = {
      count: 0,
      qcount: 0,
      revNat: 0,
      flags: flags & SERVICE_FLAGS.loadBalancer,
      algorithm: "node-default",
      affinityTimeoutS: 0,
      l7ProxyPort: undefined,
    };
    const operation = this.#services(known).update("wildcard", wildcardKey(address), encodeServiceMaster(master));
    this.#wildcards.set(address, users.add(known.key));
    yield operation;
  }

  *#deleteWildcard(known: NumberedFrontend): Generator<MapOperation, void, void> {
    const { address } = known.name;
    const users = this.#wildcards.get(address);
    if (users?.delete(known.key) !== true || users.size > 0) return;
    this.#wildcards.delete(address);
    yield this.#services(known).delete("wildcard", wildcardKey(address));
  }

  #services(known: NumberedFrontend): AgentMap {
    return this.#maps.services(known.family);
  }
}

function serviceKey(known: NumberedFrontend, slot: number): Uint8Array {
  return encodeServiceKey({ ...known.name, slot } satisfies ServiceKey);
}

function wildcardKey(address: string): Uint8Array {
  return encodeServiceKey({ address, port: 0, slot: 0, protocol: "any", scope: "external" });
}

function flagsOf({ flags = [] }: AgentFrontend): number {
  return flags.reduce((all, flag) => all | SERVICE_FLAGS[flag], 0);
}
