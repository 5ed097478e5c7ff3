import type { Clock } from "../clock.js";
import type { Endpoint } from "../model/endpoint.js";
import { EndpointPool } from "./endpoint-pool.js";
import type { PodConnector } from "./pod-connector.js";

/** The connection pools of one service port, one per endpoint. */
export class ServicePools {
  readonly #connector: PodConnector;
  readonly #clock: Clock;
  readonly #drainTimeoutMs: number;
  readonly #pools = new Map<string, EndpointPool>();

  constructor(connector: PodConnector, clock: Clock, drainTimeoutMs: number) {
    this.#connector = connector;
    this.#clock = clock;
    this.#drainTimeoutMs = drainTimeoutMs;
  }

  of(endpoint: Endpoint): EndpointPool {
    const known = this.#pools.get(endpoint.key);
    if (known !== undefined) return known;
    const pool = new EndpointPool(this.#connector.to(endpoint.address, endpoint.port));
    this.#pools.set(endpoint.key, pool);
    return pool;
  }

  /** Connections of an endpoint that exist now. */
  sizeOf(key: string): number {
    return this.#pools.get(key)?.size ?? 0;
  }

  /** The endpoint gets no new calls: idle connections close, running calls finish. */
  drain(key: string): void {
    this.#pools.get(key)?.drain(this.#clock, this.#drainTimeoutMs);
    this.#pools.delete(key);
  }

  /** Drains every endpoint. */
  close(): void {
    for (const key of [...this.#pools.keys()]) this.drain(key);
  }
}
