import { readFile, stat } from "node:fs/promises";
import type { Clock } from "../clock.js";

/** The parsed content of a file that may change while it is in use. */
export interface ParsedFile<T> {
  /** The content now. Never throws: a file that cannot be read counts as empty, as it does for the C library. */
  read(): Promise<T>;
}

/** How often the file is looked at, at most: names are asked for far more often than a pod's files change. */
const STAT_INTERVAL_MS = 5_000;

/** Reads `path` when it is first asked for, and again when its inode, size or time of change has changed. */
export function createParsedFile<T>(path: string, parse: (text: string) => T, clock: Clock): ParsedFile<T> {
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let stamp: string | undefined;
  let content = parse("");
  let looking: Promise<void> | undefined;

  async function look(): Promise<void> {
    const found = await fileStamp(path);
    if (found === stamp) return;
    content = parse(found === undefined ? "" : await readFile(path, "utf8").catch(() => ""));
    stamp = found;
  }

  return {
    async read() {
      if (looking === undefined && clock.now() - lookedAtMs >= STAT_INTERVAL_MS) {
        looking = look().finally(() => {
          lookedAtMs = clock.now();
          looking = undefined;
        });
      }
      await looking;
      return content;
    },
  };
}

/** Names the state of a regular file; undefined when there is none. */
async function fileStamp(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found?.isFile() ? `${found.ino} ${found.size} ${found.mtimeNs}` : undefined;
}
