import type { Backend } from "../cilium/backend-map.js";
import { type IpFamily, ipFamily } from "../model/ip-address.js";
import { backendKey, canonical, type FrontendName, frontendKey } from "./agent-service.js";

/** A backend that was given an id. */
export interface NumberedBackend {
  readonly id: number;
  readonly family: IpFamily;
  /** Frontends whose entries may name it, by key. */
  readonly users: Set<string>;
  /** What its map entry says; undefined when it has to be written. */
  written: Backend | undefined;
}

/** A frontend that was given a number. */
export interface NumberedFrontend {
  readonly key: string;
  readonly name: Required<FrontendName>;
  readonly family: IpFamily;
  readonly revNat: number;
  /** Keys of the backends that its entries may name. */
  readonly backends: Set<string>;
  /** The highest slot that may be written. */
  slots: number;
}

type BackendName = Pick<Backend, "address" | "port" | "protocol">;

/** Service numbers go up to this one and then from 1 again (`pkg/loadbalancer/reconciler/id_allocator.go`). */
const LAST_REV_NAT = 65_534;

/**
 * The numbers an agent gives: one id to a backend whichever frontends use it, always rising, so that an address which
 * leaves and comes back has a new one; one number to a frontend.
 */
export class AgentNumbers {
  readonly #backends = new Map<string, NumberedBackend>();
  readonly #frontends = new Map<string, NumberedFrontend>();
  #lastBackendId = 0;
  #lastRevNat = 0;

  /** The maps are new and empty: everything has to be written again, with new numbers when `renumber`. */
  forgetWritten(renumber: boolean): void {
    for (const backend of this.#backends.values()) backend.written = undefined;
    if (!renumber) return;
    this.#backends.clear();
    this.#frontends.clear();
    this.#lastBackendId = 0;
    this.#lastRevNat = 0;
  }

  frontend(name: FrontendName): NumberedFrontend | undefined {
    return this.#frontends.get(frontendKey(name));
  }

  backend(name: BackendName): NumberedBackend | undefined {
    return this.#backends.get(backendKey({ ...name, address: canonical(name.address) }));
  }

  /** @param written the name as the version writes it */
  acquireFrontend(name: FrontendName, written: Required<FrontendName>): NumberedFrontend {
    const key = frontendKey(name);
    const existing = this.#frontends.get(key);
    if (existing !== undefined) return existing;
    const known: NumberedFrontend = {
      key,
      name: written,
      family: familyOf(written.address),
      revNat: this.#nextRevNat(),
      backends: new Set(),
      slots: 0,
    };
    this.#frontends.set(key, known);
    return known;
  }

  acquireBackend(name: BackendName): NumberedBackend {
    const key = backendKey(name);
    const existing = this.#backends.get(key);
    if (existing !== undefined) return existing;
    this.#lastBackendId += 1;
    const known = {
      id: this.#lastBackendId,
      family: familyOf(name.address),
      users: new Set<string>(),
      written: undefined,
    };
    this.#backends.set(key, known);
    return known;
  }

  /** Gives the backend an id and notes that the frontend's entries may name it. */
  use(frontend: NumberedFrontend, name: BackendName): NumberedBackend {
    const backend = this.acquireBackend(name);
    backend.users.add(frontend.key);
    frontend.backends.add(backendKey(name));
    return backend;
  }

  /** Backends that only this frontend uses, and not any more, with what forgets their ids. */
  *orphans(
    frontend: NumberedFrontend,
    wanted: ReadonlySet<string>,
  ): Generator<{ readonly backend: NumberedBackend; readonly release: () => void }, void, void> {
    for (const key of frontend.backends) {
      const backend = this.#backends.get(key);
      if (backend === undefined || wanted.has(key) || backend.users.size > 1) continue;
      yield { backend, release: () => void this.#backends.delete(key) };
    }
  }

  /** Everything of the frontend is written: what it does not have any more is forgotten. */
  settle(frontend: NumberedFrontend, wanted: ReadonlySet<string>, slots: number): void {
    for (const key of frontend.backends) {
      if (wanted.has(key)) continue;
      frontend.backends.delete(key);
      this.#backends.get(key)?.users.delete(frontend.key);
    }
    frontend.slots = slots;
  }

  releaseFrontend(frontend: NumberedFrontend): void {
    this.#frontends.delete(frontend.key);
  }

  #nextRevNat(): number {
    const used = new Set([...this.#frontends.values()].map(({ revNat }) => revNat));
    if (used.size >= LAST_REV_NAT) throw new RangeError(`no service number is left of ${LAST_REV_NAT}`);
    do this.#lastRevNat = this.#lastRevNat >= LAST_REV_NAT ? 1 : this.#lastRevNat + 1;
    while (used.has(this.#lastRevNat));
    return this.#lastRevNat;
  }
}

function familyOf(address: string): IpFamily {
  return ipFamily(address) ?? 4;
}
