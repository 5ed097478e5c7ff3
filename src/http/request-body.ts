import type { Dispatcher } from "undici";

/** What undici takes as a body of one attempt. */
export type AttemptBody = NonNullable<Dispatcher.DispatchOptions["body"]> | AsyncIterable<Uint8Array> | null;

/** The body of a call, which each attempt sends from its start. */
export interface RequestBody {
  /** Whether another attempt can send the whole body. */
  canReplay(): boolean;
  /** The body for the next attempt. */
  open(): AttemptBody;
  /** The call is over: a source that was not read to its end is let go. */
  close(): void;
}

/**
 * The body of a call by what the caller gave: a function is asked anew for each attempt; strings, buffers, FormData and
 * Blobs are sent again as they are; a stream or iterable can be read once, so it is kept up to `limitBytes` while it is
 * sent.
 *
 * @param again the body for a second and later attempt where the caller of `dispatch` has it in a better form
 * @param limitBytes how much of a one-shot body is kept for a retry (default of the services: 64 KiB, as Linkerd)
 */
export function requestBody(body: unknown, again: unknown, limitBytes: number): RequestBody {
  if (body === null || body === undefined) return new ReplayableBody(null, null);
  if (again !== undefined) return new ReplayableBody(body, again);
  if (isOneShot(body)) return new OneShotBody(body, limitBytes);
  const plain = body instanceof URLSearchParams ? body.toString() : body;
  return new ReplayableBody(plain, plain);
}

/** A body that is there as a whole, or made by a function. */
class ReplayableBody implements RequestBody {
  #next: unknown;
  readonly #again: unknown;

  constructor(first: unknown, again: unknown) {
    this.#next = first;
    this.#again = again;
  }

  canReplay(): boolean {
    return true;
  }

  open(): AttemptBody {
    const body = this.#next;
    this.#next = this.#again;
    return (typeof body === "function" ? body() : body) as AttemptBody;
  }

  close(): void {
    this.#next = null;
  }
}

type Chunk = Uint8Array | string;

function isOneShot(body: unknown): body is AsyncIterable<Chunk> | Iterable<Chunk> {
  if (typeof body !== "object" || body === null) return false;
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return false;
  // These iterate over their entries and are encoded anew for each attempt.
  if (body instanceof FormData || body instanceof URLSearchParams) return false;
  if (Object.prototype.toString.call(body) === "[object FormData]") return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

/** A stream or iterable, kept up to a limit while the first attempt reads it. */
class OneShotBody implements RequestBody {
  readonly #iterator: AsyncIterator<Chunk> | Iterator<Chunk>;
  readonly #limitBytes: number;
  /** What was read and may be needed again; beyond the limit only what the present reader has not taken yet. */
  readonly #chunks: Uint8Array[] = [];
  #keptBytes = 0;
  #isOverLimit = false;
  /** The source failed: what was kept is not the whole body. */
  #isBroken = false;
  #isDone = false;
  #reader = 0;
  #pulling: Promise<void> | undefined;

  constructor(source: AsyncIterable<Chunk> | Iterable<Chunk>, limitBytes: number) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : (source as Iterable<Chunk>)[Symbol.iterator]();
    this.#limitBytes = limitBytes;
  }

  canReplay(): boolean {
    return !this.#isOverLimit && !this.#isBroken;
  }

  open(): AsyncIterable<Uint8Array> {
    this.#reader += 1;
    return this.#read(this.#reader);
  }

  close(): void {
    this.#reader += 1;
    if (this.#isDone) return;
    this.#isDone = true;
    // Lets a stream destroy itself. A failure of its clean-up concerns nobody any more: the call has its outcome.
    Promise.resolve(this.#iterator.return?.()).catch(() => undefined);
  }

  async *#read(reader: number): AsyncGenerator<Uint8Array> {
    let position = 0;
    while (reader === this.#reader) {
      if (this.#isOverLimit && position > 0) {
        this.#chunks.splice(0, position);
        position = 0;
      }
      const chunk = this.#chunks[position];
      if (chunk !== undefined) {
        position += 1;
        yield chunk;
      } else if (this.#isDone) {
        return;
      } else {
        this.#pulling ??= this.#pull();
        await this.#pulling;
      }
    }
  }

  async #pull(): Promise<void> {
    try {
      const next = await this.#iterator.next();
      if (next.done === true) {
        this.#isDone = true;
        return;
      }
      const chunk = typeof next.value === "string" ? Buffer.from(next.value) : next.value;
      this.#chunks.push(chunk);
      this.#keptBytes += chunk.byteLength;
      if (this.#keptBytes > this.#limitBytes) this.#isOverLimit = true;
    } catch (error) {
      this.#isBroken = true;
      throw error;
    } finally {
      this.#pulling = undefined;
    }
  }
}
