import { type StaticDiscovery, staticDiscovery } from "../../src/discovery.js";
import { createMesh, isOnehopError, type Mesh, type MeshOptions, type OnehopError } from "../../src/index.js";
import type { Pod } from "./pods.js";

/** The service that all tests call; the pods' own ports are in the endpoints. */
export const SERVICE = "quotes.energy";
export const URL_OF_SERVICE = "http://quotes.energy/v1/quotes";

/** Pods by the name of their cluster. The mesh itself is in `home`. */
export type PodsByCluster = Readonly<Record<string, readonly Pod[]>>;

/** A budget that never says no, for tests of something else. */
export const AMPLE_BUDGET = { ratio: 1, minPerSecond: 1_000 } as const;

/** What `staticDiscovery` takes for these pods. */
export function servicesOf(clusters: PodsByCluster): {
  [SERVICE]: { address: string; port: number; cluster: string }[];
} {
  return {
    [SERVICE]: Object.entries(clusters).flatMap(([cluster, pods]) =>
      pods.map(({ address, port }) => ({ address, port, cluster })),
    ),
  };
}

export interface MeshOverPods {
  readonly mesh: Mesh;
  readonly discovery: StaticDiscovery;
}

/** A mesh that knows the pods as `quotes.energy`. */
export function meshOver(clusters: PodsByCluster, options: MeshOptions = {}): MeshOverPods {
  const discovery = staticDiscovery({ localCluster: "home", services: servicesOf(clusters) });
  return { mesh: createMesh({ services: { [SERVICE]: {} }, discovery, ...options }), discovery };
}

/** The OnehopError that a call rejects with, itself or as the cause of fetch's TypeError; fails the test otherwise. */
export async function onehopErrorOf(call: Promise<unknown>): Promise<OnehopError> {
  const error = await rejectionOf(call);
  if (isOnehopError(error)) return error;
  if (error instanceof Error && isOnehopError(error.cause)) return error.cause;
  throw new Error("the call rejected with something else than an OnehopError", { cause: error });
}

/** What a promise rejects with; fails the test when it does not. */
export async function rejectionOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("the call did not fail");
}

/** Waits until `holds`, for what another process or a timer does; fails the test after `limitMs`. */
export async function eventually(holds: () => boolean | Promise<boolean>, limitMs = 5_000): Promise<void> {
  const until = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`did not happen within ${limitMs} ms: ${holds}`);
    await pause(10);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
