import type { IncomingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import { type Dispatcher, util } from "undici";

/**
 * Who waits for the response, in the callback style that undici 7 and the `fetch` of Node 20 to 24 speak natively.
 * Callers of the controller style (Node 26) are adapted.
 */
export interface Caller {
  onConnect(abort: (reason?: Error) => void): void;
  onResponseStarted?(): void;
  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean;
  onData(chunk: Buffer): boolean;
  onComplete(rawTrailers: string[] | null): void;
  onError(error: unknown): void;
  onUpgrade?(status: number, rawHeaders: Buffer[] | string[] | null, socket: Duplex): void;
  onBodySent?(chunkSize: number, totalBytesSent: number): void;
  onRequestSent?(): void;
}

/** Adapts what was handed to `dispatch`. */
export function asCaller(handler: Dispatcher.DispatchHandler): Caller {
  return handler.onRequestStart === undefined ? (handler as Caller) : new ControllerCaller(handler);
}

/** The controller that a caller of the newer style holds; stays the same over all attempts of a call. */
class CallerController implements Dispatcher.DispatchController {
  readonly #abort: (reason?: Error) => void;
  #resume: (() => void) | undefined;
  paused = false;
  aborted = false;
  reason: Error | null = null;
  rawHeaders: Buffer[] | string[] | null = null;
  rawTrailers: string[] | null = null;

  constructor(abort: (reason?: Error) => void) {
    this.#abort = abort;
  }

  resumeWith(resume: () => void): void {
    this.#resume = resume;
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#abort(reason);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#resume?.();
  }
}

class ControllerCaller implements Caller {
  readonly #handler: Dispatcher.DispatchHandler;
  #controller: CallerController = new CallerController(() => undefined);

  constructor(handler: Dispatcher.DispatchHandler) {
    this.#handler = handler;
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.#controller = new CallerController(abort);
    this.#handler.onRequestStart?.(this.#controller, {});
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    this.#controller.resumeWith(resume);
    this.#controller.rawHeaders = rawHeaders;
    this.#handler.onResponseStart?.(this.#controller, status, parsed(rawHeaders), statusText);
    return !this.#controller.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#handler.onResponseData?.(this.#controller, chunk);
    return !this.#controller.paused;
  }

  onComplete(rawTrailers: string[] | null): void {
    this.#controller.rawTrailers = rawTrailers;
    this.#handler.onResponseEnd?.(this.#controller, parsed(rawTrailers ?? []));
  }

  onError(error: unknown): void {
    this.#handler.onResponseError?.(this.#controller, error as Error);
  }

  onUpgrade(status: number, rawHeaders: Buffer[] | string[] | null, socket: Duplex): void {
    this.#controller.rawHeaders = rawHeaders;
    this.#handler.onRequestUpgrade?.(this.#controller, status, parsed(rawHeaders ?? []), socket);
  }
}

function parsed(raw: readonly (Buffer | string)[]): IncomingHttpHeaders {
  return util.parseHeaders(raw as string[]) as IncomingHttpHeaders;
}
