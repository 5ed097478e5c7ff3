import { resolve } from "node:path";
import * as v from "valibot";
import { type Clock, systemClock } from "../clock.js";
import { OnehopError } from "../errors.js";
import { checkOptions, duration, holder, type Schema, strict, text } from "../validation.js";
import type { Discovery } from "./discovery.js";
import { readEndpointFile } from "./endpoint-file.js";
import { createTableWatches, type TableState } from "./table-watches.js";
import { type FileNews, WatchedFile } from "./watched-file.js";

/** What {@link fileDiscovery} takes. */
export interface FileDiscoveryOptions {
  /** A JSON file such as `{ "localCluster": "eu-west-1", "services": { "quotes.energy": ["10.1.2.3:8080"] } }`. */
  readonly path: string;
  /**
   * How often the file is looked at even if the system reports no change, in milliseconds. Default 5,000: reports are
   * the rule, and this only bounds how long a missing one goes unnoticed.
   */
  readonly pollMs?: number;
  /** @internal */
  readonly clock?: Clock;
}

/**
 * Endpoints from a JSON file (an `EndpointList`), read again when it changes: a ConfigMap mounted as a volume, or a file
 * that another program keeps. Wrong content leaves the last good view in place (`doubt`), and so does a missing file
 * (`unavailable`), which is taken up when it appears. The file is first read when the first service is watched.
 *
 * @throws OnehopError `ERR_ONEHOP_CONFIG` when an option is unknown, missing or wrong
 */
export function fileDiscovery(options: FileDiscoveryOptions): Discovery {
  const checked = checkOptions(schema as unknown as Schema<FileDiscoveryOptions>, options, "options", "fileDiscovery");
  const { pollMs = 5_000, clock = systemClock } = checked;
  const path = resolve(checked.path);
  let state: TableState = { table: undefined, problem: undefined };
  const watches = createTableWatches("fileDiscovery", path, () => state);
  let file: WatchedFile | undefined;
  let isClosed = false;

  function onNews(news: FileNews): void {
    state = nextState(state, news, path);
    watches.publish();
  }

  function startedFile(): WatchedFile | undefined {
    if (!isClosed) file ??= new WatchedFile(path, { clock, pollIntervalMs: pollMs, onNews });
    return file;
  }

  return {
    name: "file",
    attach: () => watches.attach(),
    watch(target, listener) {
      startedFile();
      return watches.watch(target, listener, () => file?.check());
    },
    async knows({ service, port }) {
      await startedFile()?.settled();
      return !isClosed && state.table?.endpoints(service, port) !== undefined;
    },
    localCluster() {
      const name = state.table?.localCluster;
      return name === undefined ? undefined : { number: undefined, name };
    },
    async close() {
      isClosed = true;
      watches.close();
      file?.close();
    },
  };
}

const schema = strict({
  path: text("the path of a JSON file", (value) => value !== "" && !value.includes("\0")),
  pollMs: v.exactOptional(duration),
  clock: v.exactOptional(holder("now", "a clock")),
});

/** The last good table stays whatever comes after it. */
function nextState({ table }: TableState, news: FileNews, path: string): TableState {
  if (news.kind === "unreadable") {
    const reason = `${path} ${news.why}`;
    const error = new OnehopError(
      "ERR_ONEHOP_DISCOVERY_UNAVAILABLE",
      `${reason}; put a JSON file with the endpoints there that this process may read`,
      news.cause === undefined ? {} : { cause: news.cause },
    );
    return { table, problem: { kind: "unavailable", reason, error } };
  }
  try {
    return { table: readEndpointFile(news.bytes, path), problem: undefined };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    return { table, problem: { kind: "doubt", reason: error.message, error } };
  }
}
