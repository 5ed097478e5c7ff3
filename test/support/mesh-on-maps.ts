import type { CiliumVersionName } from "../../src/cilium/cilium-versions.js";
import { type BpfDiscoveryOptions, bpfDiscovery } from "../../src/discovery.js";
import {
  createMesh,
  type EndpointReport,
  type Mesh,
  type MeshEvent,
  type MeshEventOf,
  type MeshEventType,
  type ServiceOptions,
} from "../../src/index.js";
import type { Kernel, MapMaker } from "../../src/kernel/kernel.js";
import { type CiliumAgent, type CiliumAgentOptions, createCiliumAgent } from "../../src/testing/cilium-agent.js";

/** The service that the tests call, and its own addresses. */
export const SERVICE = "quotes.energy";
export const VIP = { address: "10.96.7.7", port: 80 } as const;
export const VIP6 = { address: "fd00:96::7", port: 80 } as const;

/** The address of "this pod", and the number of its cluster. */
export const OWN_ADDRESS = "127.1.255.254";

/** Calls that {@link MeshOnMaps.call} has under way together. */
const AT_A_TIME = 20;

const EVENTS: readonly MeshEventType[] = [
  "discovery",
  "endpoints",
  "doubt",
  "reopen",
  "identity-mismatch",
  "retry",
  "retry-suppressed",
  "warning",
];

export interface MeshOnMapsOptions {
  readonly kernel: Kernel;
  readonly maker: MapMaker;
  /** Where the maps are pinned. */
  readonly directory: string;
  readonly version?: CiliumVersionName;
  readonly agent?: Partial<CiliumAgentOptions>;
  readonly discovery?: BpfDiscoveryOptions;
  readonly service?: ServiceOptions;
  readonly addresses?: readonly string[];
}

/** A mesh and the agent that writes the maps it reads. */
export interface MeshOnMaps {
  readonly agent: CiliumAgent;
  readonly mesh: Mesh;
  /** All events so far of a type. */
  events<T extends MeshEventType>(type: T): readonly MeshEventOf<T>[];
  endpoints(port?: number): Promise<readonly EndpointReport[]>;
  /** Waits until the endpoints are exactly at these addresses; fails the test after five seconds. */
  untilAddresses(...addresses: readonly string[]): Promise<readonly EndpointReport[]>;
  /**
   * Makes calls, twenty at a time: one after the other would stay with the pod that was quickest.
   *
   * @returns how many each pod answered with 200
   */
  call(count: number, port?: number): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

/** Starts an agent with empty maps, and a mesh that knows `quotes.energy` by them. */
export function meshOnMaps(options: MeshOnMapsOptions): MeshOnMaps {
  const { kernel, maker, directory, version = "1.20" } = options;
  const agent = createCiliumAgent({ maker, directory, version, ...options.agent });
  agent.start();
  const mesh = createMesh({
    discovery: bpfDiscovery({ pinDirectory: directory, kernel, pollMs: 25, ownAddresses: [], ...options.discovery }),
    addresses: { [SERVICE]: options.addresses ?? [VIP.address] },
    services: { [SERVICE]: { timeoutMs: 5_000, emptyGraceMs: 200, drainTimeoutMs: 500, ...options.service } },
  });
  const seen: MeshEvent[] = [];
  for (const type of EVENTS) mesh.on(type, (event) => seen.push(event));
  const endpoints = (port = 80): Promise<readonly EndpointReport[]> => mesh.service(`${SERVICE}:${port}`).endpoints();
  return {
    agent,
    mesh,
    endpoints,
    events: <T extends MeshEventType>(type: T) => seen.filter((event): event is MeshEventOf<T> => event.type === type),
    untilAddresses: (...addresses) => {
      const wanted = [...addresses].sort().join();
      return untilEndpoints(
        endpoints,
        (found) =>
          found
            .map(({ address }) => address)
            .sort()
            .join() === wanted,
      );
    },
    async call(count, port = 80) {
      const answered: Record<string, number> = {};
      const callOnce = async (): Promise<void> => {
        const { statusCode, headers, body } = await mesh.request(`http://${SERVICE}:${port}/v1/quotes`);
        await body.dump();
        if (statusCode !== 200) throw new Error(`status ${statusCode}`);
        const pod = String(headers["x-pod"]);
        answered[pod] = (answered[pod] ?? 0) + 1;
      };
      for (let left = count; left > 0; left -= AT_A_TIME) {
        await Promise.all(Array.from({ length: Math.min(left, AT_A_TIME) }, callOnce));
      }
      return answered;
    },
    async close() {
      await mesh.close();
      agent.close();
    },
  };
}

/** Waits until `holds` of the endpoints; fails the test after `limitMs` with the endpoints there were. */
export async function untilEndpoints(
  endpoints: () => Promise<readonly EndpointReport[]>,
  holds: (found: readonly EndpointReport[]) => boolean,
  limitMs = 5_000,
): Promise<readonly EndpointReport[]> {
  const until = performance.now() + limitMs;
  for (;;) {
    const found = await endpoints();
    if (holds(found)) return found;
    if (performance.now() > until) throw new Error(`the endpoints stayed ${JSON.stringify(found, null, 1)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
