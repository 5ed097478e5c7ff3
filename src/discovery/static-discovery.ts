import type { Discovery } from "./discovery.js";
import { type EndpointList, type EndpointTable, readEndpointList, type ServiceEndpoints } from "./endpoint-list.js";
import { createTableWatches } from "./table-watches.js";

/** What {@link staticDiscovery} takes. */
export interface StaticDiscoveryOptions extends EndpointList {}

/** A {@link Discovery} whose endpoints are given in code. */
export interface StaticDiscovery extends Discovery {
  /**
   * Replaces all services and tells the watches.
   *
   * @throws OnehopError `ERR_ONEHOP_CONFIG`; the services stay as they were
   */
  update(services: Readonly<Record<string, ServiceEndpoints>>): void;
}

/**
 * Endpoints given in code, for tests, for development, and where the pods are known otherwise.
 *
 * ```js
 * staticDiscovery({ services: { "quotes.energy": ["10.1.2.3:8080", { address: "10.2.0.4", cluster: "eu-west-1" }] } })
 * ```
 *
 * @throws OnehopError `ERR_ONEHOP_CONFIG` naming the wrong value and what was expected
 */
export function staticDiscovery(options: StaticDiscoveryOptions): StaticDiscovery {
  let table = readTable(options);
  const watches = createTableWatches("staticDiscovery", "static discovery", () => ({ table, problem: undefined }));
  let isClosed = false;

  return {
    name: "static",
    attach: () => watches.attach(),
    watch: (target, listener) => watches.watch(target, listener, () => {}),
    knows: async ({ service, port }) => !isClosed && table.endpoints(service, port) !== undefined,
    localCluster: () =>
      table.localCluster === undefined ? undefined : { number: undefined, name: table.localCluster },
    update(services) {
      table = readTable({ localCluster: table.localCluster, services });
      watches.publish();
    },
    async close() {
      isClosed = true;
      watches.close();
    },
  };
}

function readTable(list: EndpointList): EndpointTable {
  return readEndpointList(list, { code: "ERR_ONEHOP_CONFIG", label: "staticDiscovery" });
}
