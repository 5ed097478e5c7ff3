import { normalHost } from "../model/service-ref.js";
import { isDnsName } from "./dns-name.js";
import type { ResolvConf } from "./resolv-conf.js";

/**
 * The full names to ask for, in order, as glibc's `res_search` does: a name with a trailing dot stands for itself; one
 * with at least `ndots` dots is tried as it is first, then with each search domain; any other one with the search domains
 * first, then as it is. Names that are too long or not well formed are left out.
 *
 * @returns names in lower case, without a trailing dot, each once; empty when `host` itself is no DNS name
 */
export function candidateNames(host: string, conf: Pick<ResolvConf, "search" | "ndots">): readonly string[] {
  const name = normalHost(host);
  if (!isDnsName(name)) return [];
  if (host.endsWith(".")) return [name];
  // An empty search domain is the root: `search .`.
  const completed = conf.search.map((domain) => (domain === "" ? name : `${name}.${domain}`)).filter(isDnsName);
  const dots = name.split(".").length - 1;
  return [...new Set(dots >= conf.ndots ? [name, ...completed] : [...completed, name])];
}
