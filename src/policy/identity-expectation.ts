/**
 * Whether an endpoint is the pod that a service is expected to consist of, by its Cilium security identity.
 *
 * Maps lag: for a moment a service may list the address of a pod that is gone and whose address was given to a pod of
 * another application. Its identity gives it away. This is a safety net, not authentication: it knows what this node's
 * maps say, and nothing that the other side proves.
 */

import type { Endpoint } from "../model/endpoint.js";
import { type Identity, type IdentityKind, identityKind } from "../model/identity.js";

/** What identity the endpoints of a service should have. Without numbers and labels everything matches. */
export interface IdentityExpectation {
  /** Identity numbers, any of which matches. */
  readonly numbers?: readonly number[];
  /**
   * Labels, all of which an identity must carry: `k8s:app=quotes`, or `app=quotes` for any source as in Cilium. An
   * identity matches by its number or by its labels, since a number stands for exactly one set of labels.
   */
  readonly labels?: readonly string[];
  /** What becomes of endpoints whose identity is unknown. Default `allow`: a lagging map must not cause an outage. */
  readonly unknown?: "allow" | "refuse";
  /** Refuse mismatching endpoints even where that is most of them. Default false. */
  readonly strict?: boolean;
}

/** The endpoints of a service, judged. `allowed` and `refused` together are all of them. */
export interface IdentityVerdict {
  /** May be called. */
  readonly allowed: readonly Endpoint[];
  /** Get no new calls. */
  readonly refused: readonly Endpoint[];
  /** Known not to be what is expected: to be reported. Refused where `obeyed`, allowed otherwise. */
  readonly mismatched: readonly Endpoint[];
  /** False where most endpoints mismatch, so that the expectation is doubted instead of the endpoints. */
  readonly obeyed: boolean;
}

/** Identities that are given to pods by their labels. All others stand for a range of addresses or for a node. */
const POD_KINDS: ReadonlySet<IdentityKind> = new Set<IdentityKind>(["cluster", "well-known", "user-reserved"]);

/**
 * Compares one identity.
 *
 * @returns `unknown` where the map had no answer, or only that of a prefix which covers the address (world, a CIDR, a
 * node: the entry of the pod has not arrived yet, or the pod uses its node's network), or where labels are expected and
 * nobody knows those of the identity
 */
export function checkIdentity(
  expectation: IdentityExpectation,
  identity: Identity | undefined,
): "match" | "mismatch" | "unknown" {
  const { numbers = [], labels = [] } = expectation;
  if (numbers.length === 0 && labels.length === 0) return "match";
  if (identity === undefined) return "unknown";
  if (numbers.includes(identity.number)) return "match";
  if (!POD_KINDS.has(identityKind(identity.number))) return "unknown";
  if (labels.length === 0) return "mismatch";
  const carried = identity.labels;
  if (carried === undefined) return "unknown";
  return labels.every((expected) => carried.some((label) => isLabel(expected, label))) ? "match" : "mismatch";
}

/**
 * Judges the endpoints of a service together.
 *
 * Where two or more mismatch, and they are more than half of those whose identity is known, the pods were most likely
 * relabelled or the expectation is wrong. Then the mismatches are reported and still called, unless `strict`.
 *
 * A single mismatch is always obeyed, also where it is the only endpoint. One address given to another pod is just what
 * this is for, and one endpoint is no majority of anything. A call to it would reach another application, with the
 * headers and body meant for ours, so there is nothing to lose by refusing it; the price is that relabelling a service
 * of one pod stops its calls, with an event that says why, until the expectation is mended.
 */
export function judgeIdentities(expectation: IdentityExpectation, endpoints: readonly Endpoint[]): IdentityVerdict {
  const verdicts = endpoints.map((endpoint) => checkIdentity(expectation, endpoint.identity));
  const mismatched = endpoints.filter((_, index) => verdicts[index] === "mismatch");
  const known = verdicts.filter((verdict) => verdict !== "unknown").length;
  const isMostly = mismatched.length >= 2 && mismatched.length > known / 2;
  const obeyed = expectation.strict === true || !isMostly;
  const isRefused = (index: number): boolean =>
    verdicts[index] === "unknown" ? expectation.unknown === "refuse" : verdicts[index] === "mismatch" && obeyed;
  return {
    allowed: endpoints.filter((_, index) => !isRefused(index)),
    refused: endpoints.filter((_, index) => isRefused(index)),
    mismatched,
    obeyed,
  };
}

/** Whether a carried label `source:key=value` is the expected one; an expected one without source, or of `any`, fits all. */
function isLabel(expected: string, carried: string): boolean {
  if (expected === carried) return true;
  const [source, text] = splitLabel(expected);
  return (source === undefined || source === "any") && text === splitLabel(carried)[1];
}

/** A colon behind the equals sign belongs to the value. */
function splitLabel(label: string): readonly [source: string | undefined, text: string] {
  const colon = label.indexOf(":");
  const equals = label.indexOf("=");
  if (colon < 0 || (equals >= 0 && equals < colon)) return [undefined, label];
  return [label.slice(0, colon), label.slice(colon + 1)];
}
