import { type FSWatcher, watch } from "node:fs";
import { open, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Clock, Timer } from "../clock.js";

/** What became of a file. */
export type FileNews =
  | { readonly kind: "content"; readonly bytes: Uint8Array }
  /** There is nothing to read; `why` completes the sentence that starts with the path. */
  | { readonly kind: "unreadable"; readonly why: string; readonly cause: unknown };

export interface WatchedFileOptions {
  readonly clock: Clock;
  /** How often the file is looked at even if the system reports no change, in milliseconds. */
  readonly pollIntervalMs: number;
  /** Called when the content, or the reason why there is none, is new. */
  readonly onNews: (news: FileNews) => void;
}

/** How long to wait after a report, so that a burst of them makes one look. */
const SETTLE_MS = 25;
/** A larger file was put there by mistake. */
const LARGEST_BYTES = 16 * 1_048_576;
/** How often a file that changes while it is read is read again before the next report is waited for. */
const MOST_READS = 3;

/**
 * Reads a file and reads it again when it changes, without keeping the process alive.
 *
 * The folder is watched, not the file: editors replace files by renaming, and Kubernetes swaps a ConfigMap by renaming
 * the symbolic link `..data` beside them. Reports can be missing (network file systems, links that lead to other
 * folders, a folder that is replaced), so the file is also looked at now and then.
 */
export class WatchedFile {
  readonly #path: string;
  readonly #options: WatchedFileOptions;
  #watcher: FSWatcher | undefined;
  /** Which folder `#watcher` watches: its inode. */
  #watchedFolder: bigint | undefined;
  #pollTimer: Timer | undefined;
  #settleTimer: Timer | undefined;
  #stamp: string | undefined;
  #bytes: Buffer | undefined;
  #why: string | undefined;
  #looking: Promise<void> | undefined;
  #isLookDue = false;
  /** Whether the next look reads the file even if its stamp is the old one. */
  #isReadDue = false;
  #isClosed = false;

  constructor(path: string, options: WatchedFileOptions) {
    this.#path = path;
    this.#options = options;
    this.#look();
  }

  /** Settles when the looks that are under way have ended. Never rejects. */
  async settled(): Promise<void> {
    await this.#looking;
  }

  /** Looks at the file soon. Cheap to call often. */
  check(): void {
    if (this.#isClosed || this.#settleTimer !== undefined) return;
    this.#settleTimer = this.#options.clock.setBackgroundTimer(SETTLE_MS, () => {
      this.#settleTimer = undefined;
      this.#look();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#watcher?.close();
    this.#pollTimer?.cancel();
    this.#settleTimer?.cancel();
  }

  /** One look at a time; what is asked for meanwhile makes one more. */
  #look(): void {
    this.#isLookDue = true;
    this.#looking ??= this.#lookWhileDue().finally(() => {
      this.#looking = undefined;
    });
  }

  async #lookWhileDue(): Promise<void> {
    while (this.#isLookDue && !this.#isClosed) {
      this.#isLookDue = false;
      // Watching comes first, so that no change falls between the read and the watch.
      await this.#watchFolder();
      const news = await this.#read();
      if (news !== undefined) this.#tell(news);
    }
    this.#pollTimer?.cancel();
    if (!this.#isClosed) {
      this.#pollTimer = this.#options.clock.setBackgroundTimer(this.#options.pollIntervalMs, () => this.#look());
    }
  }

  async #watchFolder(): Promise<void> {
    const folder = dirname(this.#path);
    const inode = await stat(folder, { bigint: true }).then(
      (found) => found.ino,
      () => undefined,
    );
    if (this.#isClosed || (this.#watcher !== undefined && inode === this.#watchedFolder)) return;
    this.#stopWatching();
    if (inode === undefined) return;
    try {
      this.#watcher = watch(folder, { persistent: false }, (_event, name) => {
        // A write in place may leave size and, within a tick of the kernel, time as they were.
        if (name === null || name === basename(this.#path)) this.#isReadDue = true;
        this.check();
      });
      this.#watcher.on("error", () => this.#stopWatching());
      this.#watchedFolder = inode;
    } catch {
      // No watch to be had (limit of inotify, folder gone): the poll goes on and tries again.
      this.#stopWatching();
    }
  }

  #stopWatching(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watchedFolder = undefined;
  }

  /** @returns undefined when the file is as it was */
  async #read(): Promise<FileNews | undefined> {
    const isReadDue = this.#isReadDue;
    this.#isReadDue = false;
    try {
      // Before opening: opening a pipe would wait for its writer.
      const found = await fileStamp(this.#path);
      if (found.why !== undefined) return { kind: "unreadable", why: found.why, cause: undefined };
      if (found.stamp === this.#stamp && !isReadDue) return undefined;
      const { bytes, stamp } = await readStable(this.#path);
      this.#stamp = stamp;
      return { kind: "content", bytes };
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      const why = code === "ENOENT" || code === "ENOTDIR" ? "does not exist" : `cannot be read (${code ?? cause})`;
      return { kind: "unreadable", why, cause };
    }
  }

  /** Passes news on unless it is what was said last. */
  #tell(news: FileNews): void {
    if (this.#isClosed) return;
    if (news.kind === "unreadable") {
      this.#stamp = undefined;
      if (news.why === this.#why) return;
      this.#why = news.why;
    } else {
      const bytes = Buffer.from(news.bytes.buffer, news.bytes.byteOffset, news.bytes.byteLength);
      if (this.#why === undefined && this.#bytes?.equals(bytes)) return;
      this.#why = undefined;
      this.#bytes = bytes;
    }
    this.#options.onNews(news);
  }
}

/** Names the state of a file; `why` says that it is none that can be read. */
async function fileStamp(path: string): Promise<{ readonly stamp: string; readonly why: string | undefined }> {
  const found = await stat(path, { bigint: true });
  const isTooLarge = found.size > LARGEST_BYTES;
  return {
    stamp: `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs}`,
    why: !found.isFile() ? "is no regular file" : isTooLarge ? `has more than ${LARGEST_BYTES} bytes` : undefined,
  };
}

/** Reads a file until it did not change meanwhile, a few times at most: then the change is reported and read later. */
async function readStable(path: string): Promise<{ readonly bytes: Uint8Array; readonly stamp: string }> {
  const { stamp } = await fileStamp(path);
  let before = stamp;
  for (let reads = 1; ; reads += 1) {
    const handle = await open(path, "r");
    let bytes: Uint8Array;
    try {
      bytes = await handle.readFile();
    } finally {
      await handle.close();
    }
    const after = await fileStamp(path);
    if (after.stamp === before || reads === MOST_READS) return { bytes, stamp: before };
    before = after.stamp;
  }
}
