/**
 * Names of services. `svc` and `clusterset.local` names are different services and are never merged.
 */

/** A Kubernetes service as an app names it, without the port. */
export interface ServiceRef {
  /** `name.namespace`, with `.svc.clusterset.local` kept for clusterset services: the key of configuration and state. */
  readonly id: string;
  readonly name: string;
  /** Undefined for a bare name, which the pod's search list completes. */
  readonly namespace: string | undefined;
  readonly domain: "cluster" | "clusterset";
  /** The host to resolve, in lower case and without a trailing dot. */
  readonly host: string;
}

const LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?";
const SERVICE_HOST = new RegExp(`^(${LABEL})(?:\\.(${LABEL})(?:\\.svc(?:\\.(.+))?)?)?$`);

/**
 * Reads a host as a service name: `name`, `name.namespace`, `name.namespace.svc`, `name.namespace.svc.<cluster domain>`
 * or `name.namespace.svc.clusterset.local`.
 *
 * @param clusterDomain the cluster's DNS domain; default of Kubernetes `cluster.local`
 * @returns undefined when the host has another shape (it may still be a service that configuration names)
 */
export function parseServiceHost(host: string, clusterDomain = "cluster.local"): ServiceRef | undefined {
  const normal = normalHost(host);
  const match = SERVICE_HOST.exec(normal);
  if (match === null) return undefined;
  const [, name = "", namespace, domain] = match;
  if (domain !== undefined && domain !== normalHost(clusterDomain) && domain !== "clusterset.local") return undefined;
  const isClusterset = domain === "clusterset.local";
  return {
    id: isClusterset ? normal : namespace === undefined ? name : `${name}.${namespace}`,
    name,
    namespace,
    domain: isClusterset ? "clusterset" : "cluster",
    host: normal,
  };
}

/** Whether the host says by its own shape that it is a service (`*.svc`, `*.svc.<domain>`). */
export function isExplicitServiceHost(host: string, clusterDomain = "cluster.local"): boolean {
  return parseServiceHost(host, clusterDomain) !== undefined && /\.svc(\.|$)/.test(normalHost(host));
}

/** Lower case, no trailing dot. */
export function normalHost(host: string): string {
  const lower = host.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}
