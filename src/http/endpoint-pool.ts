import { Client, errors } from "undici";
import type { Clock, Timer } from "../clock.js";
import type { PodDial } from "./pod-connector.js";

/** A private undici client: at most one connection to one pod, one request at a time. */
export class PodClient {
  readonly client: Client;
  readonly origin: string;
  /** Responses completed on the present connection: above 0 the connection was kept alive by both sides. */
  served = 0;
  #socket: ReturnType<PodDial> | undefined;

  /** @param onDisconnect the connection ended, whoever ended it */
  constructor(origin: string, dial: PodDial, onDisconnect: (pod: PodClient) => void) {
    this.origin = origin;
    const connect = (...connecting: Parameters<PodDial>): void => {
      this.#socket = dial(...connecting);
    };
    // Deadlines are the call's: undici's own headers timeout is off, its body timeout comes with each request.
    this.client = new Client(origin, { connect, pipelining: 1, headersTimeout: 0 });
    this.client.on("connect", () => {
      this.served = 0;
    });
    this.client.on("disconnect", () => onDisconnect(this));
  }

  /** Closes the client when its request is over. */
  close(): void {
    // undici's close and destroy have no reason to fail: a client that is already gone is as good as closed.
    this.client.close(() => undefined);
  }

  /** Ends the client with its connection, also one that is still dialling: undici would let that go on. */
  destroy(reason: Error): void {
    this.client.destroy(reason, () => undefined);
    this.#socket?.destroy(reason);
  }
}

/**
 * The connections to one endpoint. The most recently used idle client is taken first, so that the connections a low
 * rate does not need fall out by the server's and undici's idle timeouts.
 */
export class EndpointPool {
  readonly #dial: PodDial;
  readonly #idle: PodClient[] = [];
  readonly #busy = new Set<PodClient>();
  #drainTimer: Timer | undefined;
  #isDraining = false;

  constructor(dial: PodDial) {
    this.#dial = dial;
  }

  /** Clients that are busy or hold a connection. */
  get size(): number {
    return this.#idle.length + this.#busy.size;
  }

  acquire(origin: string): PodClient {
    const index = this.#idle.findLastIndex((idle) => idle.origin === origin);
    const [known] = index < 0 ? [] : this.#idle.splice(index, 1);
    const pod = known ?? new PodClient(origin, this.#dial, this.#disconnected);
    this.#busy.add(pod);
    return pod;
  }

  /** The client's request is over; the client is used again, or closed when the endpoint drains. */
  release(pod: PodClient): void {
    if (!this.#busy.delete(pod)) return;
    if (this.#isDraining) pod.close();
    else if (!pod.client.destroyed) this.#idle.push(pod);
    if (this.#busy.size === 0) this.#drainTimer?.cancel();
  }

  /** Ends the client with its connection, and with a request that has not reached a socket yet. */
  discard(pod: PodClient, reason: Error): void {
    this.#busy.delete(pod);
    pod.destroy(reason);
    if (this.#busy.size === 0) this.#drainTimer?.cancel();
  }

  /** Closes idle connections now; running requests may finish within `drainTimeoutMs`. */
  drain(clock: Clock, drainTimeoutMs: number): void {
    this.#isDraining = true;
    for (const idle of this.#idle.splice(0)) idle.close();
    if (this.#busy.size === 0) return;
    this.#drainTimer = clock.setBackgroundTimer(drainTimeoutMs, () => this.destroy());
  }

  /** Ends everything at once. */
  destroy(reason: Error = new errors.ClientDestroyedError()): void {
    this.#isDraining = true;
    this.#drainTimer?.cancel();
    for (const pod of [...this.#idle.splice(0), ...this.#busy]) pod.destroy(reason);
    this.#busy.clear();
  }

  /** An idle client without a connection is of no more use than a new one. */
  readonly #disconnected = (pod: PodClient): void => {
    const index = this.#idle.indexOf(pod);
    if (index < 0) return;
    this.#idle.splice(index, 1);
    pod.close();
  };
}
