import { Client, errors } from "undici";
import type { Clock, Timer } from "../clock.js";
import type { PodConnector } from "./pod-connector.js";

/** A private undici client: at most one connection to one pod, one request at a time. */
export class PodClient {
  readonly client: Client;
  readonly origin: string;
  /** Responses completed on the present connection: above 0 the connection was kept alive by both sides. */
  served = 0;

  constructor(origin: string, connect: ReturnType<PodConnector["to"]>) {
    this.origin = origin;
    // Deadlines are the call's: undici's own headers timeout is off, its body timeout comes with each request.
    this.client = new Client(origin, { connect, pipelining: 1, headersTimeout: 0 });
    this.client.on("connect", () => {
      this.served = 0;
    });
  }
}

/**
 * The connections to one endpoint. The most recently used idle client is taken first, so that the connections a low
 * rate does not need fall out by the server's and undici's idle timeouts.
 */
export class EndpointPool {
  readonly #connect: ReturnType<PodConnector["to"]>;
  readonly #idle: PodClient[] = [];
  readonly #busy = new Set<PodClient>();
  #drainTimer: Timer | undefined;
  #isDraining = false;

  constructor(connect: ReturnType<PodConnector["to"]>) {
    this.#connect = connect;
  }

  /** Clients that exist, busy ones included. */
  get size(): number {
    return this.#idle.length + this.#busy.size;
  }

  acquire(origin: string): PodClient {
    const index = this.#idle.findLastIndex((idle) => idle.origin === origin);
    const [known] = index < 0 ? [] : this.#idle.splice(index, 1);
    const pod = known ?? new PodClient(origin, this.#connect);
    this.#busy.add(pod);
    return pod;
  }

  /** The client's request is over; the client is used again, or closed when the endpoint drains. */
  release(pod: PodClient): void {
    if (!this.#busy.delete(pod)) return;
    if (pod.client.destroyed) return;
    if (this.#isDraining) closeQuietly(pod.client);
    else this.#idle.push(pod);
    if (this.#busy.size === 0) this.#drainTimer?.cancel();
  }

  /** Ends the client with its connection, and with a request that has not reached a socket yet. */
  discard(pod: PodClient, reason: Error): void {
    this.#busy.delete(pod);
    destroyQuietly(pod.client, reason);
  }

  /** Closes idle connections now; running requests may finish within `drainTimeoutMs`. */
  drain(clock: Clock, drainTimeoutMs: number): void {
    this.#isDraining = true;
    for (const idle of this.#idle.splice(0)) closeQuietly(idle.client);
    if (this.#busy.size === 0) return;
    this.#drainTimer = clock.setBackgroundTimer(drainTimeoutMs, () => this.destroy());
  }

  /** Ends everything at once. */
  destroy(reason: Error = new errors.ClientDestroyedError()): void {
    this.#isDraining = true;
    this.#drainTimer?.cancel();
    for (const pod of [...this.#idle.splice(0), ...this.#busy]) destroyQuietly(pod.client, reason);
    this.#busy.clear();
  }
}

/** undici's close and destroy settle without a reason to fail; a client that is already gone is as good as closed. */
function closeQuietly(client: Client): void {
  client.close(() => undefined);
}

function destroyQuietly(client: Client, reason: Error): void {
  client.destroy(reason, () => undefined);
}
