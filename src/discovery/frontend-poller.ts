import type { ServiceMaster } from "../cilium/service-map.js";
import { backgroundDelay, type Clock } from "../clock.js";
import { isOnehopError } from "../errors.js";
import { type CheckedFrontend, checkFrontend, type MemberBackend } from "./frontend-check.js";
import { FrontendPass } from "./frontend-pass.js";
import type { FamilyMaps } from "./map-set.js";

/** What a poll of one frontend came to. */
export type FrontendPoll =
  | { readonly kind: "unchanged" }
  | { readonly kind: "present"; readonly master: ServiceMaster; readonly members: readonly MemberBackend[] }
  | { readonly kind: "absent" }
  /** Nothing trustworthy could be read; the adopted view stands. */
  | { readonly kind: "doubt"; readonly reason: string; readonly error?: Error };

type Adoptable = Extract<CheckedFrontend, { kind: "absent" | "present" }>;

/** A stable pass, judged. */
type Judgement =
  | Adoptable
  | Extract<FrontendPoll, { kind: "doubt" }>
  | { readonly kind: "gap"; readonly reason: string; readonly bytes: Uint8Array; readonly rest: Adoptable };

/**
 * Pauses between the passes of one poll, in milliseconds. Two equal passes at least 2 ms apart are needed to adopt a
 * change: the agent writes one entry after the other, a service within well under a millisecond.
 */
const PASS_PAUSES_MS: readonly number[] = [2, 2, 3, 5, 8];

/**
 * How many polls in a row must find the same gap before the rest is adopted: an agent that died in the middle of a change
 * leaves a slot without its backend until it is back.
 */
const POLLS_UNTIL_GAPS_COUNT = 3;

/**
 * Follows one frontend. While nothing changes a poll is one pass and one comparison. A change is adopted when two passes
 * agree and their entries belong together; else the last adopted view stands.
 */
export class FrontendPoller {
  readonly #pass: FrontendPass;
  readonly #maps: FamilyMaps;
  readonly #address: string;
  readonly #port: number;
  readonly #clock: Clock;
  #adopted: Uint8Array | undefined;
  #gap: { readonly bytes: Uint8Array; readonly polls: number } | undefined;

  constructor(maps: FamilyMaps, address: string, port: number, clock: Clock) {
    this.#maps = maps;
    this.#address = address;
    this.#port = port;
    this.#clock = clock;
    this.#pass = new FrontendPass(maps, address, port);
  }

  /** One pass: whether there is a master now. */
  isPresent(): boolean {
    this.#pass.read();
    return checkFrontend(this.#pass.bytes, this.#maps, this.#address, this.#port).kind === "present";
  }

  /**
   * @throws OnehopError `ERR_ONEHOP_KERNEL` when a map cannot be read
   */
  async poll(): Promise<FrontendPoll> {
    this.#pass.read();
    let last: Judgement = { kind: "doubt", reason: "the entries changed between two passes" };
    for (const pauseMs of PASS_PAUSES_MS) {
      if (this.#isAdopted()) return { kind: "unchanged" };
      const before = this.#pass.bytes.slice();
      await backgroundDelay(this.#clock, pauseMs);
      this.#pass.read();
      if (!this.#pass.equals(before)) continue;
      last = this.#judge(before);
      if (last.kind !== "doubt" && last.kind !== "gap") return this.#adopt(before, last);
    }
    if (last.kind !== "gap") return last;
    if (this.#isOldGap(last.bytes)) return this.#adopt(last.bytes, last.rest);
    return { kind: "doubt", reason: last.reason };
  }

  #isAdopted(): boolean {
    return this.#adopted !== undefined && this.#pass.equals(this.#adopted);
  }

  #judge(bytes: Uint8Array): Judgement {
    let checked: ReturnType<typeof checkFrontend>;
    try {
      checked = checkFrontend(bytes, this.#maps, this.#address, this.#port);
    } catch (error) {
      if (!isOnehopError(error) || error.code !== "ERR_ONEHOP_MALFORMED") throw error;
      return { kind: "doubt", reason: error.message, error };
    }
    if (checked.kind === "conflict") return { kind: "doubt", reason: checked.reason };
    if (checked.kind === "present" && checked.gaps.length > 0) {
      return { kind: "gap", reason: checked.gaps.join("; "), bytes, rest: checked };
    }
    return checked;
  }

  #adopt(bytes: Uint8Array, checked: Adoptable): FrontendPoll {
    this.#adopted = bytes;
    this.#gap = undefined;
    return checked.kind === "absent" ? { kind: "absent" } : checked;
  }

  /** Whether this is the last of enough polls in a row that found the same gap, and something is left beside it. */
  #isOldGap(bytes: Uint8Array): boolean {
    const isSame = this.#gap !== undefined && Buffer.compare(this.#gap.bytes, bytes) === 0;
    const polls = isSame ? (this.#gap?.polls ?? 0) + 1 : 1;
    this.#gap = { bytes, polls };
    return polls >= POLLS_UNTIL_GAPS_COUNT;
  }
}
