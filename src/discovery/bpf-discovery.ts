import type { Timer } from "../clock.js";
import { OnehopError } from "../errors.js";
import type { Notify } from "../model/event.js";
import { BpfNode } from "./bpf-node.js";
import { type BpfDiscoveryOptions, type SettledBpfOptions, settleBpfOptions } from "./bpf-options.js";
import { BpfWatch } from "./bpf-watch.js";
import type { Discovery, DiscoveryHost, DiscoveryUpdate, DiscoveryWatch, WatchTarget } from "./discovery.js";

/** Least time between two looks at a service, in milliseconds, however often a look is asked for. */
const LEAST_PAUSE_MS = 20;

const CLOSED = "the discovery was closed; make another";

/**
 * Endpoints from the maps that Cilium pins on this node: the pods of a service in all clusters, with state, identity,
 * cluster, zone and node.
 *
 * Reading needs no capability on Linux 5.19 and later, only read access to the pins, and the optional package `koffi`.
 * Only services in use are looked at, by targeted look-ups, never on the path of a call. A service that cannot be read
 * keeps its last view; without one its own address is called.
 *
 * @throws OnehopError `ERR_ONEHOP_CONFIG` when an option is unknown or wrong
 */
export function bpfDiscovery(options: BpfDiscoveryOptions = {}): Discovery {
  return new BpfDiscovery(settleBpfOptions(options));
}

/** A watch with its schedule. */
interface Scheduled {
  readonly watch: BpfWatch;
  touchedAt: number;
  lookedAt: number;
  /** The last look could not read the maps: the next one waits as for a quiet service. */
  hasFailed: boolean;
  isLooking: boolean;
  /** A look was asked for while one was under way, which may have read before what it was asked for. */
  isWanted: boolean;
  /** A look was asked for too soon after one. */
  soon: Timer | undefined;
}

class BpfDiscovery implements Discovery {
  readonly name = "bpf";
  readonly #options: SettledBpfOptions;
  readonly #watches = new Set<Scheduled>();
  #notify: Notify | undefined;
  #node: BpfNode | undefined;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: SettledBpfOptions) {
    this.#options = options;
  }

  attach(host: DiscoveryHost): void {
    if (this.#notify !== undefined) {
      throw new OnehopError("ERR_ONEHOP_CONFIG", "a discovery belongs to one mesh; make another with bpfDiscovery()");
    }
    this.#notify = host.notify;
  }

  watch(target: WatchTarget, listener: (update: DiscoveryUpdate) => void): DiscoveryWatch {
    if (this.#isClosed) return closedWatch(listener);
    const scheduled: Scheduled = {
      watch: new BpfWatch(this.#openNode(), this.#options, target, listener),
      touchedAt: this.#options.clock.now(),
      lookedAt: Number.NEGATIVE_INFINITY,
      hasFailed: false,
      isLooking: false,
      isWanted: false,
      soon: undefined,
    };
    this.#watches.add(scheduled);
    this.#look(scheduled, false);
    this.#timer ??= this.#tickLater();
    return {
      touch: () => {
        scheduled.touchedAt = this.#options.clock.now();
      },
      refresh: () => this.#want(scheduled),
      close: () => {
        scheduled.watch.close();
        scheduled.soon?.cancel();
        this.#watches.delete(scheduled);
      },
    };
  }

  async knows(target: WatchTarget): Promise<boolean> {
    if (this.#isClosed) throw new OnehopError("ERR_ONEHOP_DISCOVERY_UNAVAILABLE", CLOSED);
    return new BpfWatch(this.#openNode(), this.#options, target, () => undefined).knows();
  }

  localCluster(): ReturnType<Discovery["localCluster"]> {
    return this.#node?.localCluster;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { watch, soon } of this.#watches) {
      watch.close();
      soon?.cancel();
    }
    this.#watches.clear();
    this.#node?.close();
  }

  #openNode(): BpfNode {
    this.#node ??= new BpfNode(this.#options, this.#notify ?? (() => undefined));
    return this.#node;
  }

  #tickLater(): Timer {
    return this.#options.clock.setBackgroundTimer(this.#options.pollMs, () => {
      for (const scheduled of this.#watches) {
        if (this.#isDue(scheduled)) this.#look(scheduled, false);
      }
      this.#timer = this.#watches.size === 0 || this.#isClosed ? undefined : this.#tickLater();
    });
  }

  #isDue(scheduled: Scheduled): boolean {
    const now = this.#options.clock.now();
    const isQuiet = scheduled.hasFailed || now - scheduled.touchedAt > this.#options.quietAfterMs;
    return !isQuiet || now - scheduled.lookedAt >= this.#options.quietPollMs;
  }

  /** Looks now, or as soon as the look under way and the least pause are over. */
  #want(scheduled: Scheduled): void {
    if (scheduled.soon !== undefined || scheduled.hasFailed || !this.#watches.has(scheduled)) return;
    if (scheduled.isLooking) {
      scheduled.isWanted = true;
      return;
    }
    const waitMs = scheduled.lookedAt + LEAST_PAUSE_MS - this.#options.clock.now();
    if (waitMs <= 0) this.#look(scheduled, true);
    else scheduled.soon = this.#options.clock.setBackgroundTimer(waitMs, () => this.#look(scheduled, true));
  }

  #look(scheduled: Scheduled, isAsked: boolean): void {
    if (scheduled.isLooking || this.#isClosed || !this.#watches.has(scheduled)) return;
    scheduled.isLooking = true;
    scheduled.isWanted = false;
    scheduled.soon?.cancel();
    scheduled.soon = undefined;
    // A look never rejects.
    void scheduled.watch.look(isAsked).then((couldRead) => {
      scheduled.isLooking = false;
      scheduled.hasFailed = !couldRead;
      scheduled.lookedAt = this.#options.clock.now();
      if (scheduled.isWanted) this.#want(scheduled);
    });
  }
}

/** A watch that came after the close. */
function closedWatch(listener: (update: DiscoveryUpdate) => void): DiscoveryWatch {
  let isOpen = true;
  queueMicrotask(() => {
    if (isOpen) listener({ kind: "unavailable", reason: CLOSED });
  });
  return {
    touch() {},
    refresh() {},
    close() {
      isOpen = false;
    },
  };
}
