import type { Duplex } from "node:stream";
import { errors } from "undici";
import type { Caller } from "./caller.js";

/**
 * A caller whose host is being looked up. It is given its means to abort once, at the start; whoever gets the request
 * then is put behind them.
 */
export class UndecidedCaller implements Caller {
  readonly #caller: Caller;
  #onDecided: () => void = () => undefined;
  /** Aborts the request at whoever it was handed to. */
  #abortNext: ((reason?: Error) => void) | undefined;
  #isDecided = false;
  #isOver = false;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** The caller gave up, or its deadline passed, before the host was known: the request goes nowhere. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** @param onDecided called once, when the look-up is over or does not matter any more */
  connect(onDecided: () => void): void {
    this.#onDecided = onDecided;
    this.#caller.onConnect((reason) => this.abort(reason ?? new errors.RequestAbortedError()));
  }

  /** The request was handed on. */
  decided(): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    this.#onDecided();
  }

  abort(reason: unknown): void {
    if (this.#abortNext !== undefined) {
      this.#abortNext(reason as Error);
      return;
    }
    if (this.#isOver) return;
    this.#isOver = true;
    this.decided();
    this.#caller.onError(reason);
  }

  /** Whoever got the request says how it is aborted. */
  onConnect(abort: (reason?: Error) => void): void {
    if (this.#isOver) abort();
    else this.#abortNext = abort;
  }

  onResponseStarted(): void {
    this.#caller.onResponseStarted?.();
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    return !this.#isOver && this.#caller.onHeaders(status, rawHeaders, resume, statusText);
  }

  onData(chunk: Buffer): boolean {
    return !this.#isOver && this.#caller.onData(chunk);
  }

  onComplete(rawTrailers: string[] | null): void {
    if (!this.#isOver) this.#caller.onComplete(rawTrailers);
  }

  onError(error: unknown): void {
    if (!this.#isOver) this.#caller.onError(error);
  }

  onUpgrade(status: number, rawHeaders: Buffer[] | string[] | null, socket: Duplex): void {
    this.#caller.onUpgrade?.(status, rawHeaders, socket);
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    this.#caller.onBodySent?.(chunkSize, totalBytesSent);
  }

  onRequestSent(): void {
    this.#caller.onRequestSent?.();
  }
}
