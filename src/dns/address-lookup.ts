import type { Clock } from "../clock.js";
import { type AddressAnswer, readAddressAnswer } from "./address-answer.js";
import type { DnsQuestion } from "./dns-message.js";
import { queryDns } from "./dns-query.js";
import { type NameServer, nameServerLabel } from "./name-server.js";

/** How to ask for the addresses of a full name. */
export interface LookupSettings {
  readonly clock: Clock;
  /** Asked in this order. */
  readonly servers: readonly NameServer[];
  /** How often all servers are asked in turn. */
  readonly attempts: number;
  /** How long to wait for one server, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether nobody waits, so that the process may end meanwhile. */
  readonly isBackground: boolean;
}

/** What came of it; `answers` says for people what each server said. */
export type AddressLookup =
  /** IPv4 first. */
  | { readonly kind: "addresses"; readonly addresses: readonly string[]; readonly ttlMs: number }
  /** A server has said for both families that there are none. */
  | { readonly kind: "absent"; readonly answers: readonly string[] }
  /** No server gave a usable answer: nothing is known. */
  | { readonly kind: "failed"; readonly answers: readonly string[] };

type Family = DnsQuestion["type"];

const FAMILIES: readonly Family[] = ["A", "AAAA"];

/**
 * How long the second family is waited for once the first has brought addresses, in milliseconds. Some servers never
 * answer one of the two (RFC 4074); the addresses at hand must not wait for the whole time limit. More than the 50 ms of
 * RFC 8305 §3, because no connection is delayed by it: the answer is cached.
 */
const OTHER_FAMILY_GRACE_MS = 250;

/**
 * Asks for the A and AAAA records of `name`, both at once, server after server until one has answered. Addresses of one
 * family are enough. A family that has been answered is not asked for again.
 */
export async function lookUpAddresses(name: string, settings: LookupSettings): Promise<AddressLookup> {
  const known = new Map<Family, AddressAnswer>();
  const answers: string[] = [];
  for (let attempt = 1; attempt <= settings.attempts; attempt += 1) {
    for (const server of settings.servers) {
      const asked = FAMILIES.filter((family) => !known.has(family));
      await askServer(name, asked, server, settings, (family, answer) => {
        answers.push(`${name} ${family}: ${nameServerLabel(server)} ${describe(answer)}`);
        if (answer.kind !== "failed") known.set(family, answer);
      });
      const lookup = concluded(known, answers);
      if (lookup !== undefined) return lookup;
    }
  }
  return { kind: "failed", answers };
}

/** The result, once addresses are known or both families are known to have none. */
function concluded(known: ReadonlyMap<Family, AddressAnswer>, answers: readonly string[]): AddressLookup | undefined {
  const addresses: string[] = [];
  let ttlMs = Number.POSITIVE_INFINITY;
  for (const family of FAMILIES) {
    const answer = known.get(family);
    if (answer?.kind !== "addresses") continue;
    addresses.push(...answer.addresses);
    ttlMs = Math.min(ttlMs, answer.ttlMs);
  }
  if (addresses.length > 0) return { kind: "addresses", addresses, ttlMs };
  return known.size === FAMILIES.length ? { kind: "absent", answers } : undefined;
}

/** Asks one server for the families at once and returns when all have settled, or soon after one has brought addresses. */
async function askServer(
  name: string,
  families: readonly Family[],
  server: NameServer,
  settings: LookupSettings,
  tell: (family: Family, answer: AddressAnswer) => void,
): Promise<void> {
  const { clock, timeoutMs, isBackground } = settings;
  const abort = new AbortController();
  const { signal } = abort;
  const startGrace = (): (() => void) => {
    const onTime = (): void =>
      abort.abort(new Error(`did not answer within ${OTHER_FAMILY_GRACE_MS} ms of the other family`));
    const timer = isBackground
      ? clock.setBackgroundTimer(OTHER_FAMILY_GRACE_MS, onTime)
      : clock.setTimer(OTHER_FAMILY_GRACE_MS, onTime);
    return () => timer.cancel();
  };
  let cancelGrace: (() => void) | undefined;
  await Promise.all(
    families.map(async (type) => {
      const question = { name, type };
      const answer = await queryDns(question, server, { clock, timeoutMs, isBackground, signal }).then(
        (packet) => readAddressAnswer(packet, question),
        (error: unknown): AddressAnswer => ({
          kind: "failed",
          why: error instanceof Error ? error.message : String(error),
        }),
      );
      if (answer.kind === "addresses") cancelGrace ??= startGrace();
      tell(type, answer);
    }),
  );
  cancelGrace?.();
}

/** What the server did, for people. */
function describe(answer: AddressAnswer): string {
  switch (answer.kind) {
    case "addresses":
      return `answered ${answer.addresses.join(", ")}`;
    case "no-such-name":
      return "answered NXDOMAIN";
    case "no-data":
      return "answered without such a record";
    case "failed":
      return answer.why;
  }
}
