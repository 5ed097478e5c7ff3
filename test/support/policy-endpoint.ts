import { type Endpoint, endpointKey } from "../../src/model/endpoint.js";
import { type Locality, UNKNOWN_LOCALITY } from "../../src/model/locality.js";

/** A pod of tests: backend `id` at 10.0.0.`id`. */
export function makeEndpoint(
  id: number,
  locality: Partial<Locality> = {},
  identity: Endpoint["identity"] = undefined,
): Endpoint {
  const address = `10.0.${id >>> 8}.${id & 255}`;
  return {
    key: endpointKey(id, address, 8080),
    backendId: id,
    address,
    port: 8080,
    family: 4,
    state: "active",
    identity,
    locality: { ...UNKNOWN_LOCALITY, ...locality },
    kind: "pod",
  };
}
