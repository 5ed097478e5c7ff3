import * as v from "valibot";
import { isDnsName } from "../dns/dns-name.js";
import { type Endpoint, endpointKey } from "../model/endpoint.js";
import { formatHostPort, ipFamily } from "../model/ip-address.js";
import { UNKNOWN_LOCALITY } from "../model/locality.js";
import { normalHost, parseServiceHost, type ServiceRef } from "../model/service-ref.js";
import {
  type CheckedEndpoint,
  checkEndpoint,
  checkKeys,
  type EndpointSpec,
  isRecord,
  malformed,
  place,
  type SpecOrigin,
  wrongValue,
} from "./endpoint-spec.js";

/** The pods of a service: objects, or texts such as `10.1.2.3:8080`. */
export type ServiceEndpoints = readonly (string | EndpointSpec)[];

/** Services with their pods as people write them, in code or in a JSON file. */
export interface EndpointList {
  /** Name of the cluster this process runs in. */
  readonly localCluster?: string | undefined;
  /**
   * By `name.namespace`, for every port of the service, or by `name.namespace:port`, for that port only; the latter
   * wins.
   */
  readonly services: Readonly<Record<string, ServiceEndpoints>>;
}

/** An {@link EndpointList} that has been checked. */
export interface EndpointTable {
  readonly localCluster: string | undefined;
  /** The endpoints of a port of a service, in the order of the list; undefined when the list does not have it. */
  endpoints(service: ServiceRef, port: number): readonly Endpoint[] | undefined;
}

const LIST_KEYS = {
  localCluster: v.optional(v.pipe(v.string("the name of a cluster"), v.minLength(1, "the name of a cluster"))),
  services: v.custom<Readonly<Record<string, unknown>>>(isRecord, "an object with a key for each service"),
};

/**
 * Checks an {@link EndpointList}, whatever it is.
 *
 * @throws OnehopError with the origin's code, naming the place, the value and what was expected
 */
export function readEndpointList(input: unknown, origin: SpecOrigin): EndpointTable {
  const { localCluster, services } = checkKeys(input, LIST_KEYS, "an object with the key services", "", origin);
  const lists = new Map<string, readonly CheckedEndpoint[]>();
  for (const [key, list] of Object.entries(services)) {
    const at = place("services", key);
    const canonical = canonicalServiceKey(key, at, origin);
    if (lists.has(canonical))
      throw malformed(`${at} names the service ${canonical} a second time; join the two`, origin);
    lists.set(canonical, checkServiceEndpoints(list, at, origin));
  }
  return {
    localCluster,
    endpoints(service, port) {
      const list =
        lists.get(`${service.id}:${port}`) ??
        lists.get(`${service.host}:${port}`) ??
        lists.get(service.id) ??
        lists.get(service.host);
      return list === undefined ? undefined : buildEndpoints(list, port);
    },
  };
}

/** `name.namespace` with the port where one is given, however the name was written. */
function canonicalServiceKey(key: string, at: string, origin: SpecOrigin): string {
  const [, name = "", port] = /^([^:]*)(?::([1-9][0-9]{0,4}))?$/.exec(key) ?? [];
  const host = normalHost(name);
  if (!isDnsName(host) || Number(port ?? 1) > 65_535) {
    throw malformed(`${at} is no service; write name.namespace or name.namespace:port`, origin);
  }
  const id = parseServiceHost(host)?.id ?? host;
  return port === undefined ? id : `${id}:${port}`;
}

function checkServiceEndpoints(list: unknown, at: string, origin: SpecOrigin): readonly CheckedEndpoint[] {
  if (!Array.isArray(list)) throw wrongValue(at, list, "a list of endpoints", origin);
  const places = new Map<string, string>();
  return Array.from(list, (value: unknown, index) => {
    const here = place(at, index);
    const endpoint = checkEndpoint(value, here, origin);
    const name = endpoint.port === undefined ? endpoint.address : formatHostPort(endpoint.address, endpoint.port);
    const first = places.get(name);
    if (first !== undefined) throw malformed(`${here} repeats ${first} (${name}); remove one of them`, origin);
    places.set(name, here);
    return endpoint;
  });
}

/** The endpoints for a port that was asked for. An entry with a port of its own wins over one that takes the asked one. */
function buildEndpoints(list: readonly CheckedEndpoint[], askedPort: number): readonly Endpoint[] {
  const endpoints = new Map<string, Endpoint>();
  for (const spec of list) {
    const endpoint = buildEndpoint(spec, askedPort);
    if (spec.port !== undefined || !endpoints.has(endpoint.key)) endpoints.set(endpoint.key, endpoint);
  }
  return [...endpoints.values()];
}

function buildEndpoint(spec: CheckedEndpoint, askedPort: number): Endpoint {
  const { address, port = askedPort, cluster, zone, node, identity, state = "active" } = spec;
  return {
    key: endpointKey(0, address, port),
    backendId: 0,
    address,
    port,
    family: ipFamily(address) ?? 4,
    state,
    identity: identity === undefined ? undefined : { number: identity.number, labels: identity.labels },
    locality: { ...UNKNOWN_LOCALITY, cluster, zone, node },
    kind: "pod",
  };
}
