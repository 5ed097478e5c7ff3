import type { Duplex } from "node:stream";
import type { Dispatcher } from "undici";
import type { Attempt } from "../call/attempt.js";
import type { AttemptFailure, AttemptResponse } from "../call/attempt-failure.js";
import type { Caller } from "./caller.js";
import type { EndpointPool, PodClient } from "./endpoint-pool.js";

/** How much of a response that nobody wants is read to keep its connection, in bytes; beyond it the connection ends. */
const DISCARD_LIMIT_BYTES = 65_536;

/** What an attempt reports to. */
export interface AttemptSink {
  readonly caller: Caller;
  classify(status: number, rawHeaders: Buffer[]): AttemptResponse;
  responded(attempt: Attempt, response: AttemptResponse): "commit" | "discard";
  failed(attempt: Attempt, failure: AttemptFailure): void;
  /** undici refuses the request as the caller made it: no endpoint is to blame. */
  refused(attempt: Attempt, error: Error): void;
  /** The committed response is complete or has broken off. */
  completed(attempt: Attempt): void;
}

type Phase = "connecting" | "sent" | "committed" | "discarding" | "dropped" | "over";

/**
 * One request on one private client, as undici's handler.
 *
 * Phases: `connecting` (no byte has left) → `sent` → `committed` (the caller gets the response) or `discarding` (read
 * and thrown away) → `over`. `dropped` takes over from any of them: nothing reaches the caller any more.
 */
export class HttpAttempt implements Dispatcher.DispatchHandler {
  readonly #sink: AttemptSink;
  readonly #attempt: Attempt;
  readonly #pool: EndpointPool;
  readonly #pod: PodClient;
  #phase: Phase = "connecting";
  #abort: ((reason?: Error) => void) | undefined;
  #dropReason: Error | undefined;
  #wasReused = false;
  #sawAnswer = false;
  /** The status says that no body follows, whatever length the headers tell (RFC 9110, section 8.6). */
  #isBodyless = false;
  #discardedBytes = 0;

  constructor(sink: AttemptSink, attempt: Attempt, pool: EndpointPool, pod: PodClient) {
    this.#sink = sink;
    this.#attempt = attempt;
    this.#pool = pool;
    this.#pod = pod;
  }

  /** Nothing more comes of the request: it ended, or was stopped. */
  get isOver(): boolean {
    return this.#phase === "over" || this.#phase === "dropped";
  }

  /**
   * Stops the request; nothing of it is reported any more.
   *
   * @returns whether a byte of the request may have left
   */
  drop(reason: Error): AttemptFailure["class"] {
    if (this.isOver) return "maybe-processed";
    const isConnecting = this.#phase === "connecting";
    this.#phase = "dropped";
    this.#dropReason = reason;
    this.#attempt.release();
    // A request that waits for its connection cannot be taken back from undici: the connection attempt ends with it.
    if (isConnecting) this.#pool.discard(this.#pod, reason);
    else this.#abort?.(reason);
    return isConnecting ? "never-left" : "maybe-processed";
  }

  /** undici writes the request now: from here on the server may have seen it. */
  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.#phase === "dropped") {
      abort(this.#dropReason);
      return;
    }
    this.#phase = "sent";
    this.#wasReused = this.#pod.served > 0;
  }

  onResponseStarted(): void {
    this.#sawAnswer = true;
    if (this.#phase === "sent") this.#sink.caller.onResponseStarted?.();
  }

  onRequestSent(): void {
    if (this.#phase === "sent") this.#sink.caller.onRequestSent?.();
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    if (this.#phase === "sent") this.#sink.caller.onBodySent?.(chunkSize, totalBytesSent);
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    this.#sawAnswer = true;
    if (this.#phase === "dropped") return false;
    const isInformational = status < 200;
    if (!isInformational) {
      const verdict = this.#sink.responded(this.#attempt, this.#sink.classify(status, rawHeaders));
      // Deciding may have made the caller give up.
      if (this.#isDropped()) return false;
      this.#phase = verdict === "commit" ? "committed" : "discarding";
      this.#isBodyless = status === 204 || status === 304;
      if (verdict === "discard") return true;
    }
    let goesOn = true;
    this.#deliver(() => {
      goesOn = this.#sink.caller.onHeaders(status, rawHeaders, resume, statusText);
    });
    return goesOn;
  }

  onData(chunk: Buffer): boolean {
    if (this.#phase === "committed") {
      let goesOn = true;
      this.#deliver(() => {
        goesOn = this.#sink.caller.onData(chunk);
      });
      return goesOn;
    }
    this.#discardedBytes += chunk.length;
    if (this.#phase === "discarding" && this.#discardedBytes > DISCARD_LIMIT_BYTES) {
      this.#abort?.(new Error("the rest of a response that is retried elsewhere is not read"));
    }
    return true;
  }

  onComplete(rawTrailers: string[] | null): void {
    this.#pod.served += 1;
    this.#pool.release(this.#pod);
    const phase = this.#over();
    if (phase !== "committed") return;
    this.#sink.completed(this.#attempt);
    this.#deliver(() => this.#sink.caller.onComplete(rawTrailers));
  }

  onUpgrade(status: number, rawHeaders: Buffer[] | string[] | null, socket: Duplex): void {
    this.#pool.release(this.#pod);
    if (this.#phase === "dropped") {
      socket.destroy();
      return;
    }
    this.#sink.responded(this.#attempt, this.#sink.classify(status, []));
    this.#over();
    this.#sink.completed(this.#attempt);
    this.#deliver(() => this.#sink.caller.onUpgrade?.(status, rawHeaders, socket));
  }

  onError(error: Error): void {
    // The answer came before the request body was all written, and now the rest of it fails.
    if (this.#phase === "over") return;
    const code = (error as NodeJS.ErrnoException).code ?? "";
    const isRefused = REFUSED_REQUEST_CODES.has(code);
    // undici may keep a client stuck for which TLS failed (the certificate names another host): none is used again.
    if (this.#phase === "connecting" && !isRefused) this.#pool.discard(this.#pod, error);
    else this.#pool.release(this.#pod);
    const phase = this.#over();
    if (phase === "committed") {
      this.#sink.completed(this.#attempt);
      // undici takes the length in a 304 for that of a body which did not come (trap T-16).
      if (this.#isBodyless && code === LENGTH_MISMATCH) this.#deliver(() => this.#sink.caller.onComplete([]));
      else this.#deliver(() => this.#sink.caller.onError(error));
    } else if (isRefused) {
      if (phase === "connecting" || phase === "sent") this.#sink.refused(this.#attempt, error);
    } else if (phase === "connecting") {
      this.#sink.failed(this.#attempt, { class: "never-left", kind: "connect", error, staleConnection: false });
    } else if (phase === "sent") {
      const staleConnection = this.#wasReused && !this.#sawAnswer && CONNECTION_LOSS_CODES.has(code);
      this.#sink.failed(this.#attempt, { class: "maybe-processed", kind: "other", error, staleConnection });
    }
  }

  /** Ends the attempt's life and tells the phase it ended in. */
  #over(): Phase {
    const phase = this.#phase;
    this.#phase = "over";
    this.#attempt.release();
    return phase;
  }

  #isDropped(): boolean {
    return this.#phase === "dropped";
  }

  #deliver(deliver: () => void): void {
    const { scope } = this.#attempt;
    if (scope?.callback === undefined) deliver();
    else scope.callback(deliver);
  }
}

const REFUSED_REQUEST_CODES: ReadonlySet<string> = new Set([
  "UND_ERR_INVALID_ARG",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_NOT_SUPPORTED",
]);

const LENGTH_MISMATCH = "UND_ERR_RES_CONTENT_LENGTH_MISMATCH";

const CONNECTION_LOSS_CODES: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "UND_ERR_SOCKET"]);
