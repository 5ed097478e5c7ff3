import { AsyncResource } from "node:async_hooks";
import { type Dispatcher, errors } from "undici";
import type { Attempt } from "../call/attempt.js";
import type { AttemptFailure, AttemptResponse } from "../call/attempt-failure.js";
import { Call, type CallDriver } from "../call/call.js";
import type { CallPolicy } from "../call/call-service.js";
import type { ServiceRuntime } from "../call/service-runtime.js";
import { isIdempotentMethod } from "../policy/resend.js";
import type { Caller } from "./caller.js";
import { type AttemptSink, HttpAttempt } from "./http-attempt.js";
import { isFormBody, type RequestBody, requestBody } from "./request-body.js";
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
  /** When the caller made the call: its deadline counts from then. Monotonic milliseconds. */
  readonly startedAt: number;
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
  /** A function makes the body of a second and later attempt. */
  readonly #isBodyMade: boolean;
  readonly #call: Call;
  readonly #onEnd: (call: HttpCall) => void;
  /** The async context the call was made in: a retry starts in that of whatever socket or timer brought it about. */
  readonly #context: AsyncResource | undefined;
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
    this.#context = service.runtime.observer === undefined ? undefined : new AsyncResource("OnehopCall");
    this.#service = service;
    this.#origin = origin;
    this.caller = caller;
    this.method = options.method;
    this.#options = { bodyTimeout: service.policy.bodyIdleTimeoutMs, ...options };
    this.#body = requestBody(options.body, overrides.bodyAgain, service.policy.replayLimitBytes);
    this.#isBodyMade = typeof overrides.bodyAgain === "function";
    // An upgraded connection has a life of its own: it is begun once.
    const isTunnel = options.method === "CONNECT" || Boolean(options.upgrade);
    this.isIdempotent = !isTunnel && (overrides.idempotent ?? isIdempotentMethod(options.method));
    this.#call = new Call(service.runtime, overrides.policy, this, overrides.startedAt);
  }

  /** Starts the call; the caller gets its means to abort first. */
  begin(): void {
    try {
      this.caller.onConnect((reason) => this.abort(reason ?? new errors.RequestAbortedError()));
    } catch (error) {
      // As undici does with what a handler throws.
      this.abort(error);
    }
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

  rewind(): void {
    this.#body.rewind();
  }

  send(attempt: Attempt): void {
    const { runtime, pools } = this.#service;
    const { endpoint } = attempt.load;
    this.#dropDiscarded();
    attempt.scope = this.#context?.runInAsyncScope(() =>
      runtime.observer?.attemptStarted({
        service: runtime.id,
        port: runtime.port,
        method: this.method,
        number: attempt.number,
        endpoint,
      }),
    );
    let options: Dispatcher.DispatchOptions;
    try {
      options = this.#attemptOptions(attempt);
    } catch (error) {
      // The body cannot be had: the caller's function that makes it threw, or the caller's stream failed meanwhile.
      this.refused(attempt, error);
      return;
    }
    // The observer, or the function that makes the body, may have made the caller give up.
    if (this.#isOver) return;
    const pool = pools.of(endpoint);
    const pod = pool.acquire(this.#origin);
    const handler = new HttpAttempt(this, attempt, pool, pod);
    this.#current = handler;
    if (attempt.scope?.run === undefined) pod.client.dispatch(options, handler);
    else attempt.scope.run(() => pod.client.dispatch(options, handler));
  }

  abandon(_attempt: Attempt, reason: Error): AttemptFailure["class"] {
    return this.#current?.drop(reason) ?? "never-left";
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
    if (failure.error === this.#body.sourceError) this.refused(attempt, failure.error);
    else this.#call.failed(attempt, failure);
  }

  refused(attempt: Attempt, error: unknown): void {
    this.#call.refused(attempt, error);
  }

  completed(attempt: Attempt): void {
    this.#finish();
    this.#call.completed(attempt);
  }

  #attemptOptions(attempt: Attempt): Dispatcher.DispatchOptions {
    const body = this.#body.open();
    const options = { ...this.#options, body: body as NonNullable<Dispatcher.DispatchOptions["body"]> };
    // A body made anew may differ in its length, and a form in its boundary: undici finds both.
    if (this.#isBodyMade && attempt.number > 1) options.headers = withHeaders(options.headers, WITHOUT_LENGTH);
    if (isFormBody(body)) options.headers = withHeaders(options.headers, WITHOUT_LENGTH_AND_TYPE);
    const extra = attempt.scope?.headers;
    if (extra !== undefined) options.headers = withHeaders(options.headers, extra);
    return options;
  }

  /** What is left of a discarded answer is not waited for any longer, and nothing reads the body for it any more. */
  #dropDiscarded(): void {
    if (this.#current === undefined || this.#current.isOver) return;
    this.#current.drop(new Error("the answer was not read to its end: another attempt follows, or the call has ended"));
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#dropDiscarded();
    this.#body.close();
    this.#onEnd(this);
  }
}

const WITHOUT_LENGTH = { "content-length": undefined };
const WITHOUT_LENGTH_AND_TYPE = { "content-length": undefined, "content-type": undefined };
