import { Dispatcher, errors, getGlobalDispatcher } from "undici";
import { deadlinePassed } from "../call/call-errors.js";
import type { CallPolicy } from "../call/call-service.js";
import type { Clock } from "../clock.js";
import type { HostDecision } from "../discovery/host-rule.js";
import { closedError } from "../errors.js";
import type { ServiceRef } from "../model/service-ref.js";
import { asCaller, type Caller } from "./caller.js";
import { HttpCall, type HttpService } from "./http-call.js";
import { UndecidedCaller } from "./undecided-caller.js";

/** What may accompany one dispatch, in its options under `onehop`. */
export interface DispatchExtras {
  /** Settled rules of this call; undefined: the service's. */
  readonly policyFor?: (service: HttpService) => CallPolicy;
  readonly idempotent?: boolean | undefined;
  /** The deadline the caller set for this call, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** The body for a second and later attempt, or a function that makes it, where the dispatched one is a stream. */
  readonly bodyAgain?: unknown;
  /** Where hosts that are no mesh services go. */
  readonly passThrough?: Dispatcher | undefined;
}

/** What the dispatcher needs of the mesh. */
export interface DispatcherHost {
  decide(host: string, port: number): HostDecision | Promise<HostDecision>;
  service(ref: ServiceRef, port: number): HttpService;
  readonly clock: Clock;
  /** The deadline of calls whose host is not known as a service yet, in milliseconds. */
  readonly timeoutMs: number;
  /** Reads the options a caller gave for one call; throws on wrong ones. */
  extras(options: unknown): DispatchExtras;
}

interface Origin {
  readonly origin: string;
  readonly host: string;
  readonly port: number;
}

/** Bounds the memory for parsed origins. */
const MAX_ORIGINS = 10_000;

/**
 * An undici dispatcher that sends requests for mesh services straight to a pod, and hands everything else on untouched.
 */
export class MeshDispatcher extends Dispatcher {
  readonly #host: DispatcherHost;
  readonly #origins = new Map<string, Origin>();
  readonly #calls = new Set<Abortable>();
  readonly #whenIdle: (() => void)[] = [];
  #isClosed = false;

  constructor(host: DispatcherHost) {
    super();
    this.#host = host;
  }

  /** Calls under way, those whose host is being looked up included. */
  get active(): number {
    return this.#calls.size;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { onehop } = options as { onehop?: unknown };
    return this.dispatchWith(options, onehop === undefined ? NO_EXTRAS : this.#host.extras(onehop), handler);
  }

  /** `dispatch` with extras that were made before, for `mesh.fetch`. */
  dispatchWith(
    options: Dispatcher.DispatchOptions,
    extras: DispatchExtras,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    if (typeof handler !== "object" || handler === null) {
      throw new errors.InvalidArgumentError("handler must be an object");
    }
    if (this.#isClosed) {
      asCaller(handler).onError(closedError());
      return true;
    }
    const origin = this.#originOf(options.origin);
    const decision = origin === undefined ? "foreign" : this.#host.decide(origin.host, origin.port);
    if (decision === "foreign" || origin === undefined) return passThrough(options, extras, handler);
    if (decision instanceof Promise) this.#dispatchLater(decision, origin, options, extras, handler);
    else this.#call(decision, origin, options, extras, asCaller(handler), this.#host.clock.now());
    return true;
  }

  /** Waits until the calls under way have settled; new ones are refused. */
  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | undefined {
    this.#isClosed = true;
    const closed = new Promise<void>((resolve) => {
      if (this.#calls.size === 0) resolve();
      else this.#whenIdle.push(resolve);
    });
    if (callback === undefined) return closed;
    void closed.then(callback);
    return undefined;
  }

  /** Ends every call with `reason`; new ones are refused. */
  override destroy(): Promise<void>;
  override destroy(reason: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(reason: Error | null, callback: () => void): void;
  override destroy(reason?: Error | null | (() => void), callback?: () => void): Promise<void> | undefined {
    this.#isClosed = true;
    const done = typeof reason === "function" ? reason : callback;
    const error = reason instanceof Error ? reason : closedError();
    for (const call of [...this.#calls]) call.abort(error);
    done?.();
    return done === undefined ? Promise.resolve() : undefined;
  }

  #call(
    ref: ServiceRef,
    origin: Origin,
    options: Dispatcher.DispatchOptions,
    extras: DispatchExtras,
    caller: Caller,
    startedAt: number,
  ): void {
    const service = this.#host.service(ref, origin.port);
    const policy = extras.policyFor?.(service) ?? service.runtime.policy;
    const overrides = { policy, idempotent: extras.idempotent, bodyAgain: extras.bodyAgain, startedAt };
    const call = new HttpCall(service, origin.origin, options, overrides, caller, this.#ended);
    this.#calls.add(call);
    call.begin();
  }

  readonly #ended = (call: Abortable): void => {
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  };

  /**
   * The host is being looked up, within the call's deadline. The caller can abort meanwhile, and keeps the means to do
   * so when the request is handed on.
   */
  #dispatchLater(
    decision: Promise<HostDecision>,
    origin: Origin,
    options: Dispatcher.DispatchOptions,
    extras: DispatchExtras,
    handler: Dispatcher.DispatchHandler,
  ): void {
    const startedAt = this.#host.clock.now();
    const caller = new UndecidedCaller(asCaller(handler));
    this.#calls.add(caller);
    const timeoutMs = extras.timeoutMs ?? this.#host.timeoutMs;
    // The look-up runs in the background: this timer is what keeps the process of a caller who awaits it alive.
    const timer = this.#host.clock.setTimer(timeoutMs, () =>
      caller.abort(deadlinePassed(timeoutMs, `looking ${origin.host} up`, [], undefined)),
    );
    caller.connect(() => {
      timer.cancel();
      this.#ended(caller);
    });
    decision
      .then((settled) => {
        if (caller.isOver) return;
        if (settled === "foreign") passThrough(options, extras, extras.passThrough === undefined ? caller : handler);
        else this.#call(settled, origin, options, extras, caller, startedAt);
        caller.decided();
      })
      .catch((error: unknown) => caller.abort(error));
  }

  #originOf(given: string | URL | undefined): Origin | undefined {
    if (given === undefined) return undefined;
    const text = typeof given === "string" ? given : given.origin;
    const known = this.#origins.get(text);
    if (known !== undefined) return known;
    if (!URL.canParse(text)) return undefined;
    const url = new URL(text);
    if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
    const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
    const origin = { origin: url.origin, host: url.hostname, port };
    if (this.#origins.size >= MAX_ORIGINS) this.#origins.clear();
    this.#origins.set(text, origin);
    return origin;
  }
}

/** What is under way: a call, or the look-up before it. */
interface Abortable {
  abort(reason: unknown): void;
}

const NO_EXTRAS: DispatchExtras = Object.freeze({});

function passThrough(
  options: Dispatcher.DispatchOptions,
  extras: DispatchExtras,
  handler: Dispatcher.DispatchHandler,
): boolean {
  return (extras.passThrough ?? getGlobalDispatcher()).dispatch(options, handler);
}
