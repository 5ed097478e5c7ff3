import { OnehopError } from "../errors.js";
import type { DiscoveryUpdate, DiscoveryWatch, WatchTarget } from "./discovery.js";
import type { EndpointTable } from "./endpoint-list.js";

/** What a source that reads everything at once knows at the moment. */
export interface TableState {
  /** The last good table. */
  readonly table: EndpointTable | undefined;
  /** What is wrong with the source since; undefined while the table is up to date. */
  readonly problem: Extract<DiscoveryUpdate, { kind: "doubt" | "unavailable" }> | undefined;
}

/** The watches on such a source. */
export interface TableWatches {
  /** A mesh takes the source. @throws OnehopError `ERR_ONEHOP_CONFIG` when one has taken it before */
  attach(): void;
  /** @param refresh what `refresh()` of the watch does */
  watch(target: WatchTarget, listener: (update: DiscoveryUpdate) => void, refresh: () => void): DiscoveryWatch;
  /** The state has changed: tells those whom it concerns. */
  publish(): void;
  /** No listener is called any more; that of a later watch is told that the source is `unavailable`. */
  close(): void;
}

/**
 * Makes the watches. A listener is called in a microtask of its own, and only when there is something new for it. One
 * that comes while the source has a problem is told the last good view first.
 *
 * @param maker the function that made the source, for its errors
 * @param label names the source in reasons
 */
export function createTableWatches(maker: string, label: string, state: () => TableState): TableWatches {
  const watches = new Set<() => void>();
  let isAttached = false;
  let isClosed = false;

  return {
    attach() {
      if (isAttached) {
        throw new OnehopError("ERR_ONEHOP_CONFIG", `a discovery belongs to one mesh; make another with ${maker}()`);
      }
      isAttached = true;
    },
    watch(target, listener, refresh) {
      const source = isClosed ? () => CLOSED : state;
      const tell = createTeller(label, source, target, listener, () => watches.has(schedule));
      let isScheduled = false;
      const schedule = (): void => {
        if (isScheduled) return;
        isScheduled = true;
        queueMicrotask(() => {
          isScheduled = false;
          tell();
        });
      };
      watches.add(schedule);
      schedule();
      return {
        touch() {},
        refresh() {
          if (!isClosed && watches.has(schedule)) refresh();
        },
        close() {
          watches.delete(schedule);
        },
      };
    },
    publish() {
      for (const schedule of watches) schedule();
    },
    close() {
      isClosed = true;
      watches.clear();
    },
  };
}

/** What watches that came too late are told. */
const CLOSED: TableState = {
  table: undefined,
  problem: { kind: "unavailable", reason: "the discovery was closed; make another" },
};

/** Tells a listener what is new for it since the last time. */
function createTeller(
  label: string,
  state: () => TableState,
  target: WatchTarget,
  listener: (update: DiscoveryUpdate) => void,
  isOpen: () => boolean,
): () => void {
  let lastView: string | undefined;
  let last: string | undefined;
  return () => {
    const { table, problem } = state();
    if (table !== undefined && isOpen()) {
      const update = updateOf(table, target, label);
      const text = JSON.stringify(update);
      // After a problem the same view is news: it is good again.
      if (text !== lastView || (problem === undefined && text !== last)) {
        lastView = text;
        last = text;
        listener(update);
      }
    }
    if (problem !== undefined && isOpen()) {
      const text = `${problem.kind}: ${problem.reason}`;
      if (text === last) return;
      last = text;
      listener(problem);
    }
  };
}

function updateOf(table: EndpointTable, { service, port }: WatchTarget, label: string): DiscoveryUpdate {
  const endpoints = table.endpoints(service, port);
  if (endpoints !== undefined) return { kind: "view", endpoints };
  return { kind: "absent", reason: `${label} has no service ${service.id} for port ${port}` };
}
