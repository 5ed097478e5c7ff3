import { type Dispatcher, FormData as UndiciFormData } from "undici";
import { OnehopError } from "../errors.js";

type UndiciBody = NonNullable<Dispatcher.DispatchOptions["body"]>;

/** What undici takes as a body of one attempt. */
export type AttemptBody = UndiciBody | AsyncIterable<Uint8Array> | null;

/** The body of a call, which each attempt sends from its start. */
export interface RequestBody {
  /** Whether another attempt can send the whole body. */
  canReplay(): boolean;
  /**
   * The body for the next attempt.
   *
   * @throws what the caller's function throws that makes the body; what the caller's own stream failed with;
   * OnehopError `ERR_ONEHOP_BODY_NOT_REPLAYABLE` when a part of the body is no longer there, `ERR_ONEHOP_CONFIG` when
   * the caller's function returns a promise
   */
  open(): AttemptBody;
  /**
   * Another attempt is to follow: what {@link canReplay} said stays true, since the attempt before gets nothing of a
   * one-shot body any more. Its reading ends with an error.
   */
  rewind(): void;
  /** What the caller's own stream or iterable failed with, where it did: no endpoint is to blame for it. */
  readonly sourceError: unknown;
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
  if (body === null || body === undefined) return NO_BODY;
  if (again !== undefined) return new ReplayableBody(body, again);
  if (isOneShot(body)) return new OneShotBody(body, limitBytes);
  return new ReplayableBody(body, body);
}

/**
 * Has the caller's function make a body.
 *
 * @throws what the function throws; OnehopError `ERR_ONEHOP_CONFIG` when it returns a promise, whose text
 * `[object Promise]` would else be the body
 */
export function makeBody<T>(make: () => T): T {
  const body = make();
  if (typeof body !== "object" || body === null || !("then" in body) || typeof body.then !== "function") return body;
  // Nobody else awaits it: a rejection would end the process.
  Promise.resolve(body).catch(() => undefined);
  throw new OnehopError(
    "ERR_ONEHOP_CONFIG",
    "the function that makes the request body returned a promise: await what it needs before the call, or return an " +
      "async iterable, which may await",
  );
}

/** Whether the body brings a `content-type` of its own, with the boundary it was encoded with. */
export function isFormBody(body: AttemptBody): boolean {
  return body instanceof UndiciFormData;
}

/** The body of nearly all calls. */
const NO_BODY: RequestBody = Object.freeze({
  sourceError: undefined,
  canReplay: () => true,
  open: () => null,
  rewind: () => undefined,
  close: () => undefined,
});

/** A body that is there as a whole, or made by a function. */
class ReplayableBody implements RequestBody {
  sourceError: unknown = undefined;
  #next: unknown;
  readonly #again: unknown;
  /** One-shot bodies that an attempt has begun to read. */
  #read: WeakSet<object> | undefined;

  constructor(first: unknown, again: unknown) {
    this.#next = first;
    this.#again = again;
  }

  canReplay(): boolean {
    return true;
  }

  open(): AttemptBody {
    const given = this.#next;
    this.#next = this.#again;
    const body: unknown = typeof given === "function" ? makeBody(given as () => unknown) : given;
    if (body === undefined) return null;
    if (isOneShot(body)) {
      this.#read ??= new WeakSet();
      if (this.#read.has(body)) throw consumedAgain();
      this.#read.add(body);
      return this.#watched(body);
    }
    if (body instanceof URLSearchParams) return body.toString();
    return isFormData(body) ? undiciForm(body) : (body as UndiciBody);
  }

  rewind(): void {}

  close(): void {
    this.#next = null;
  }

  /** The source, with a note of its failure. */
  async *#watched(source: AsyncIterable<Chunk> | Iterable<Chunk>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of source) yield bytesOf(chunk);
    } catch (error) {
      this.sourceError = failureOf(error);
      throw this.sourceError;
    }
  }
}

function consumedAgain(): OnehopError {
  return new OnehopError(
    "ERR_ONEHOP_BODY_NOT_REPLAYABLE",
    "the function that makes the body gave a stream that an earlier attempt has read; make a new one each time",
  );
}

/** Streams may fail without a reason, which undici would take for no failure. */
function failureOf(error: unknown): unknown {
  return error || new Error("the source of the request body failed without a reason");
}

type Chunk = Uint8Array | string;

/** @throws TypeError, as undici, for anything that has no bytes */
function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return Buffer.from(chunk);
  if (chunk instanceof Uint8Array) return chunk;
  throw new TypeError(`a chunk of a request body must be a string or a Uint8Array, not ${typeof chunk}`);
}

function isOneShot(body: unknown): body is AsyncIterable<Chunk> | Iterable<Chunk> {
  if (typeof body !== "object" || body === null) return false;
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return false;
  // These iterate over their entries and are encoded anew for each attempt.
  if (isFormData(body) || body instanceof URLSearchParams) return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

/** FormData of whatever copy of undici: the runtime's own has another class than that of the package. */
function isFormData(body: unknown): body is Iterable<[string, string | Blob]> {
  return Object.prototype.toString.call(body) === "[object FormData]";
}

/** undici encodes only its own class. */
function undiciForm(form: Iterable<[string, string | Blob]>): UndiciFormData {
  if (form instanceof UndiciFormData) return form;
  const copy = new UndiciFormData();
  for (const [name, value] of form) copy.append(name, value);
  return copy;
}

/** What Node's streams have beside being iterable. */
interface StreamLike {
  on(event: "error", listener: (error: unknown) => void): unknown;
  destroy(): unknown;
}

/**
 * A stream or iterable, kept up to a limit while it is read. Only the reader of the attempt under way may pass the
 * limit and drop what it has taken; between two attempts there is no reader, so that nothing is dropped.
 */
class OneShotBody implements RequestBody {
  /** Set when the source failed: what was kept is not the whole body. */
  sourceError: unknown = undefined;
  readonly #source: Partial<StreamLike>;
  readonly #iterator: AsyncIterator<Chunk> | Iterator<Chunk>;
  readonly #limitBytes: number;
  /** What was read: from the start while the body is whole, then only what the present reader has not taken yet. */
  readonly #chunks: Uint8Array[] = [];
  #readBytes = 0;
  #isWhole = true;
  #isDone = false;
  /** Ordinal of the present reader, or of none. */
  #reader = 0;
  #pulling: Promise<void> | undefined;

  constructor(source: AsyncIterable<Chunk> | Iterable<Chunk>, limitBytes: number) {
    this.#source = source as Partial<StreamLike>;
    // A stream that fails before it is read would end the process, did nobody listen.
    this.#source.on?.("error", (error) => {
      this.sourceError ??= error;
    });
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : (source as Iterable<Chunk>)[Symbol.iterator]();
    this.#limitBytes = limitBytes;
  }

  canReplay(): boolean {
    return this.#isWhole && this.sourceError === undefined;
  }

  open(): AsyncIterable<Uint8Array> {
    if (this.sourceError !== undefined) throw this.sourceError;
    if (!this.#isWhole) {
      throw new OnehopError("ERR_ONEHOP_BODY_NOT_REPLAYABLE", "the start of the request body is no longer there");
    }
    this.#reader += 1;
    return this.#read(this.#reader);
  }

  rewind(): void {
    this.#reader += 1;
  }

  close(): void {
    this.#reader += 1;
    if (this.#isDone) return;
    this.#isDone = true;
    // A stream that nobody has begun to read does not notice the end of its iterator.
    if (this.#source.destroy !== undefined) this.#source.destroy();
    else void this.#endIterator();
  }

  /** Lets the source clean up. A failure of that concerns nobody any more: the call has its outcome. */
  async #endIterator(): Promise<void> {
    try {
      await this.#iterator.return?.();
    } catch {}
  }

  async *#read(reader: number): AsyncGenerator<Uint8Array> {
    let position = 0;
    while (reader === this.#reader) {
      if (this.#readBytes > this.#limitBytes) {
        this.#isWhole = false;
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
    // To return here would end the old attempt's request as if its body were complete.
    throw new Error("the body is for a later attempt now, or the call is over");
  }

  async #pull(): Promise<void> {
    try {
      const next = await this.#iterator.next();
      if (next.done === true) {
        this.#isDone = true;
        return;
      }
      const chunk = bytesOf(next.value);
      this.#chunks.push(chunk);
      this.#readBytes += chunk.byteLength;
    } catch (error) {
      this.sourceError ??= failureOf(error);
      throw this.sourceError;
    } finally {
      this.#pulling = undefined;
    }
  }
}
