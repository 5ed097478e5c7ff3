import { type Dispatcher, errors } from "undici";
import type { Attempt } from "../call/attempt.js";
import type { AttemptFailure, AttemptResponse } from "../call/attempt-failure.js";
import { Call, type CallDriver } from "../call/call.js";
import type { CallPolicy } from "../call/call-service.js";
import type { ServiceRuntime } from "../call/service-runtime.js";
import { isIdempotentMethod } from "../policy/resend.js";
import type { Caller } from "./caller.js";
import { type AttemptSink, HttpAttempt } from "./http-attempt.js";
import { type RequestBody, requestBody } from "./request-body.js";
import { withHeaders } from "./request-headers.js";
import { classifyResponse } from "./response-class.js";
import type { ServicePools } from "./service-pools.js";

/** The rules of a service that only HTTP knows. */
export interface HttpPolicy {
  readonly retryStatuses: ReadonlySet<number>;
  readonly replayLimitBytes: number;
  readonly bodyIdleTimeoutMs: number;
}

/** A service port with what HTTP needs of it. */
export interface HttpService {
  readonly runtime: ServiceRuntime;
  readonly pools: ServicePools;
  readonly policy: HttpPolicy;
  readonly wallNowMs: () => number;
}

/** What a caller may set for one call. */
export interface HttpCallOverrides {
  readonly policy: CallPolicy;
  /** The caller's word that the request may be processed twice. */
  readonly idempotent: boolean | undefined;
  /** The body for a second and later attempt, or a function that makes it, where the dispatched one is a stream. */
  readonly bodyAgain: unknown;
}

/** One HTTP call: joins a caller, the engine of `src/call` and the attempts on private clients. */
export class HttpCall implements CallDriver, AttemptSink {
  readonly caller: Caller;
  readonly method: string;
  readonly isIdempotent: boolean;
  readonly #service: HttpService;
  readonly #origin: string;
  readonly #options: Dispatcher.DispatchOptions;
  readonly #body: RequestBody;
  readonly #call: Call;
  readonly #onEnd: (call: HttpCall) => void;
  #current: HttpAttempt | undefined;
  #isOver = false;

  constructor(
    service: HttpService,
    origin: string,
    options: Dispatcher.DispatchOptions,
    overrides: HttpCallOverrides,
    caller: Caller,
    onEnd: (call: HttpCall) => void,
  ) {
    this.#onEnd = onEnd;
    this.#service = service;
    this.#origin = origin;
    this.caller = caller;
    this.method = options.method;
    this.#options = { bodyTimeout: service.policy.bodyIdleTimeoutMs, ...options };
    this.#body = requestBody(options.body, overrides.bodyAgain, service.policy.replayLimitBytes);
    // An upgraded connection has a life of its own: it is begun once.
    const isTunnel = options.method === "CONNECT" || Boolean(options.upgrade);
    this.isIdempotent = !isTunnel && (overrides.idempotent ?? isIdempotentMethod(options.method));
    this.#call = new Call(service.runtime, overrides.policy, this);
  }

  /** Starts the call; the caller gets its means to abort first. */
  begin(): void {
    this.caller.onConnect((reason) => this.abort(reason ?? new errors.RequestAbortedError()));
    if (this.#isOver) return;
    this.#service.runtime.use();
    this.#call.begin();
  }

  /** The caller gave up, or the mesh closes: settles at once. */
  abort(reason: unknown): void {
    this.#call.cancel(reason);
  }

  canReplay(): boolean {
    return this.#body.canReplay();
  }

  send(attempt: Attempt): void {
    const { runtime, pools } = this.#service;
    const { endpoint } = attempt.load;
    attempt.scope = runtime.observer?.attemptStarted({
      service: runtime.id,
      port: runtime.port,
      method: this.method,
      number: attempt.number,
      endpoint,
    });
    const pool = pools.of(endpoint);
    const pod = pool.acquire(this.#origin);
    const handler = new HttpAttempt(this, attempt, pool, pod);
    this.#current = handler;
    const options = this.#attemptOptions(attempt);
    if (attempt.scope?.run === undefined) pod.client.dispatch(options, handler);
    else attempt.scope.run(() => pod.client.dispatch(options, handler));
  }

  abandon(_attempt: Attempt, reason: Error): void {
    this.#current?.drop(reason);
  }

  fail(error: unknown): void {
    this.#finish();
    this.caller.onError(error);
  }

  classify(status: number, rawHeaders: Buffer[]): AttemptResponse {
    return classifyResponse(status, rawHeaders, this.#service.policy.retryStatuses, this.#service.wallNowMs);
  }

  responded(attempt: Attempt, response: AttemptResponse): "commit" | "discard" {
    return this.#call.responded(attempt, response);
  }

  failed(attempt: Attempt, failure: AttemptFailure): void {
    this.#call.failed(attempt, failure);
  }

  refused(attempt: Attempt, error: Error): void {
    this.#call.refused(attempt, error);
  }

  completed(attempt: Attempt): void {
    this.#finish();
    this.#call.completed(attempt);
  }

  #attemptOptions(attempt: Attempt): Dispatcher.DispatchOptions {
    const extra = attempt.scope?.headers;
    const body = this.#body.open() as Dispatcher.DispatchOptions["body"];
    const options = { ...this.#options, body: body ?? null };
    if (extra !== undefined) options.headers = withHeaders(options.headers, extra);
    return options;
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#body.close();
    this.#onEnd(this);
  }
}
