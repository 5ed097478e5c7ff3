import { type Dispatcher, request as undiciRequest } from "undici";
import type { ServiceRuntime } from "./call/service-runtime.js";
import { type Clock, systemClock } from "./clock.js";
import { bpfDiscovery } from "./discovery/bpf-discovery.js";
import type { Discovery } from "./discovery/discovery.js";
import { HostRule } from "./discovery/host-rule.js";
import { createAddressCache } from "./dns/address-cache.js";
import { parseNameServer } from "./dns/name-server.js";
import { createResolver } from "./dns/resolver.js";
import { closedError, OnehopError } from "./errors.js";
import { type DispatchExtras, MeshDispatcher } from "./http/mesh-dispatcher.js";
import { callDispatcher, type MeshRequestInit, meshFetch } from "./http/mesh-fetch.js";
import { makeBody } from "./http/request-body.js";
import { MeshEventEmitter } from "./mesh-event-emitter.js";
import { MeshServices } from "./mesh-services.js";
import type { MeshEventOf, MeshEventType } from "./model/event.js";
import { parseServiceHost } from "./model/service-ref.js";
import type { CallOptions, DnsOptions, MeshOptions, ServiceOptions } from "./options.js";
import { checkCallOptions, checkMeshOptions } from "./options-schema.js";
import { systemRandom } from "./random.js";
import { explainService, reportEndpoint, type ServiceHandle } from "./service-handle.js";
import { callPolicy, type SettledService, settleService } from "./service-policy.js";

/** What `mesh.request` takes beside what undici's `request` takes. */
export interface MeshRequestOptions extends Omit<Dispatcher.RequestOptions, "origin" | "path" | "method" | "body"> {
  readonly method?: Dispatcher.HttpMethod;
  /** As for undici, or a function that makes the body: it is called once for each attempt. */
  readonly body?: Dispatcher.DispatchOptions["body"] | (() => Dispatcher.DispatchOptions["body"]);
  /** Rules for this call. */
  readonly onehop?: CallOptions;
}

/** A client of the mesh. Make one for a process, with {@link createMesh}. */
export interface Mesh extends AsyncDisposable {
  /** The runtime's own `fetch`, through the mesh. Rejects with a TypeError whose `cause` is the OnehopError. */
  readonly fetch: (input: string | URL | Request, init?: MeshRequestInit<CallOptions>) => Promise<Response>;
  /** undici's `request`, through the mesh. Rejects with the OnehopError. */
  readonly request: (url: string | URL, options?: MeshRequestOptions) => Promise<Dispatcher.ResponseData>;
  /** The mesh as an undici dispatcher. */
  readonly dispatcher: Dispatcher;
  /**
   * Looks at one service.
   *
   * @param name `name.namespace`, or with a port `name.namespace:8080` (default 80)
   */
  service(name: string): ServiceHandle;
  /**
   * Resolves when every service in `options.services` has a view: endpoints, its own address to fall back on, or the
   * knowledge that it has none. The port is the one its name gives there, else 80. While neither endpoints nor an
   * address can be had, it waits. Not needed before calls: they wait by themselves.
   *
   * @throws the signal's reason when it aborts; OnehopError `ERR_ONEHOP_CLOSED`
   */
  ready(options?: { readonly signal?: AbortSignal }): Promise<void>;
  on<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): Mesh;
  once<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): Mesh;
  off<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): Mesh;
  /**
   * Refuses new calls, lets those under way finish, at most for `defaults.drainTimeoutMs` (30 s), closes connections and
   * discovery. Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Makes a client of the mesh. Does nothing before the first call: no socket, no timer, no look-up, and later none of them
 * keeps the process alive, while a call that is awaited does.
 *
 * @throws OnehopError `ERR_ONEHOP_CONFIG` when an option is unknown or wrong
 */
export function createMesh(options: MeshOptions = {}): Mesh {
  return new MeshClient(checkMeshOptions(options));
}

const DEFAULT_PORT = 80;

/** What a host may look like in the options; `_` is in no service name, but in names that DNS knows. */
const HOST = /^[a-z0-9_](?:[-a-z0-9_.]*[a-z0-9_])?\.?$/i;

class MeshClient implements Mesh {
  readonly dispatcher: MeshDispatcher;
  readonly #clock: Clock;
  readonly #discovery: Discovery;
  readonly #rule: HostRule;
  readonly #services: MeshServices;
  readonly #events = new MeshEventEmitter();
  readonly #configured: readonly ServicePort[];
  readonly #drainTimeoutMs: number;
  /** What waits for a first view, to be told when the mesh closes. */
  readonly #waiting = new Set<(reason: unknown) => void>();
  #closing: Promise<void> | undefined;

  constructor(options: MeshOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#discovery = options.discovery ?? bpfDiscovery();
    const resolver = createResolver({ clock: this.#clock, ...resolverOptions(options.dns) });
    const clusterDomain = options.clusterDomain ?? "cluster.local";
    const addresses = createAddressCache(resolver, this.#clock, givenAddresses(options.addresses, clusterDomain));
    this.#drainTimeoutMs = settleService(undefined, options.defaults).drainTimeoutMs;
    this.#configured = Object.keys(options.services ?? {}).map(splitPort);
    this.#rule = new HostRule({
      configured: [...this.#configured.map(({ host }) => host), ...Object.keys(options.addresses ?? {})],
      clusterDomain,
      discovery: this.#discovery,
      addresses: (host) => addresses.addresses(host),
      clock: this.#clock,
    });
    this.#services = new MeshServices({
      clock: this.#clock,
      random: options.random ?? systemRandom,
      notify: this.#events.emit,
      discovery: this.#discovery,
      cluster: options.cluster,
      addresses,
      observer: options.observer,
      rules: this.#rules(options.services ?? {}),
      defaults: options.defaults,
      idleServiceMs: options.idleServiceMs ?? 300_000,
    });
    this.dispatcher = new MeshDispatcher({
      decide: (host, port) => this.#rule.decide(host, port),
      service: (ref, port) => this.#services.of(ref, port),
      clock: this.#clock,
      timeoutMs: settleService(undefined, options.defaults).timeoutMs,
      extras,
    });
    // Last: a discovery belongs to the mesh that took it, and not to one that refused its options.
    this.#discovery.attach({ notify: this.#events.emit });
  }

  readonly fetch = (input: string | URL | Request, init?: MeshRequestInit<CallOptions>): Promise<Response> =>
    meshFetch(this.dispatcher, extras, input, init);

  readonly request = async (url: string | URL, options: MeshRequestOptions = {}): Promise<Dispatcher.ResponseData> => {
    const { body, onehop, ...rest } = options;
    const isMade = typeof body === "function";
    const settled: DispatchExtras = {
      ...(onehop === undefined ? {} : extras(onehop)),
      ...(isMade ? { bodyAgain: body } : {}),
    };
    const first = isMade ? (makeBody(body) ?? null) : body;
    return undiciRequest(url, {
      ...rest,
      ...(first === undefined ? {} : { body: first }),
      dispatcher: callDispatcher(this.dispatcher, settled) as Dispatcher,
    });
  };

  service(name: string): ServiceHandle {
    const { host, port } = splitPort(name);
    const service = (): ReturnType<MeshServices["of"]> => {
      if (this.#closing !== undefined) throw closedError();
      return this.#services.of(this.#rule.refOf(host), port);
    };
    return {
      endpoints: async () => {
        const { runtime, pools } = service();
        await this.#viewOf(runtime, false);
        const now = this.#clock.now();
        return runtime.balancer.loads.map((load) => reportEndpoint(load, pools, now));
      },
      explain: async () => {
        const { runtime, pools } = service();
        await this.#viewOf(runtime, false);
        return explainService(runtime, pools);
      },
    };
  }

  async ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options;
    if (this.#closing !== undefined) throw closedError();
    const views = this.#configured.map(({ host, port }) =>
      this.#viewOf(this.#services.of(this.#rule.refOf(host), port).runtime, true, signal),
    );
    await Promise.all(views);
  }

  on<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): this {
    this.#events.on(type, listener);
    return this;
  }

  once<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): this {
    this.#events.once(type, listener);
    return this;
  }

  off<T extends MeshEventType>(type: T, listener: (event: MeshEventOf<T>) => void): this {
    this.#events.off(type, listener);
    return this;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const cutOff = this.#clock.setTimer(this.#drainTimeoutMs, () => void this.dispatcher.destroy());
    await this.dispatcher.close();
    cutOff.cancel();
    for (const reject of [...this.#waiting]) reject(closedError());
    this.#services.close();
    await this.#discovery.close();
  }

  /** @throws OnehopError `ERR_ONEHOP_CONFIG` when two names mean the same service */
  #rules(services: Readonly<Record<string, ServiceOptions>>): ReadonlyMap<string, ServiceOptions> {
    const rules = new Map<string, ServiceOptions>();
    for (const [name, own] of Object.entries(services)) {
      const key = this.#ruleKey(name);
      if (rules.has(key)) {
        throw new OnehopError(
          "ERR_ONEHOP_CONFIG",
          `options.services["${name}"] names the service ${key} a second time; join the two`,
        );
      }
      rules.set(key, own);
    }
    return rules;
  }

  /** What finds a service's rules: its id, with the port where its name gives one. */
  #ruleKey(name: string): string {
    const { host, port, isPortGiven } = splitPort(name);
    const { id } = this.#rule.refOf(host);
    return isPortGiven ? `${id}:${port}` : id;
  }

  /**
   * Resolves when the view of the service is settled, or, where `isCallable` is asked for, when it is also not
   * `unavailable`. Somebody awaits it, so it keeps the process alive.
   */
  #viewOf(runtime: ServiceRuntime, isCallable: boolean, signal?: AbortSignal): Promise<void> {
    const isEnough = (): boolean => runtime.isSettled && !(isCallable && runtime.view.state === "unavailable");
    signal?.throwIfAborted();
    if (isEnough()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const keepAlive = this.#clock.setTimer(Number.POSITIVE_INFINITY, () => undefined);
      const waiter = {
        viewReady: () => {
          if (isEnough()) settle(resolve);
          else runtime.waitForView(waiter);
        },
      };
      const fail = (reason: unknown): void => settle(() => reject(reason));
      const aborted = (): void => fail(signal?.reason);
      const settle = (end: () => void): void => {
        keepAlive.cancel();
        this.#waiting.delete(fail);
        runtime.stopWaiting(waiter);
        signal?.removeEventListener("abort", aborted);
        end();
      };
      this.#waiting.add(fail);
      signal?.addEventListener("abort", aborted, { once: true });
      runtime.waitForView(waiter);
    });
  }
}

/** What a caller set for one call, as the dispatcher takes it. */
function extras(given: unknown): DispatchExtras {
  const options = checkCallOptions(given);
  return {
    policyFor: (service) => callPolicy(service.policy as SettledService, options),
    idempotent: options.idempotent,
    timeoutMs: options.timeoutMs,
  };
}

/** The addresses of a service go for every form of its name. */
function givenAddresses(
  given: MeshOptions["addresses"] = {},
  clusterDomain: string,
): Readonly<Record<string, readonly string[]>> {
  const all: Record<string, readonly string[]> = {};
  for (const [host, addresses] of Object.entries(given)) {
    if (!HOST.test(host)) {
      throw new OnehopError("ERR_ONEHOP_CONFIG", `options.addresses["${host}"]: expected a host without a port`);
    }
    const ref = parseServiceHost(host, clusterDomain);
    const isClusterName = ref?.domain === "cluster" && ref.namespace !== undefined;
    const forms = isClusterName ? [ref.id, `${ref.id}.svc`, `${ref.id}.svc.${clusterDomain}`] : [host];
    for (const form of forms) all[form] = addresses;
  }
  return all;
}

function resolverOptions(dns: DnsOptions = {}): Omit<Parameters<typeof createResolver>[0], "clock"> {
  const { nameservers, ...rest } = dns;
  return { ...rest, ...(nameservers === undefined ? {} : { nameservers: nameservers.map(parseNameServer) }) };
}

interface ServicePort {
  readonly host: string;
  readonly port: number;
  /** The name says the port. */
  readonly isPortGiven: boolean;
}

function splitPort(name: string): ServicePort {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(name);
  const port = match?.[2] === undefined ? DEFAULT_PORT : Number(match[2]);
  if (match?.[1] === undefined || !HOST.test(match[1]) || port < 1 || port > 65_535) {
    throw new OnehopError(
      "ERR_ONEHOP_CONFIG",
      `a service is named "name.namespace" or "name.namespace:port", not "${name}"`,
    );
  }
  return { host: match[1], port, isPortGiven: match[2] !== undefined };
}
