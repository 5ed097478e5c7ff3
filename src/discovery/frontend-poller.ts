import type { ServiceMaster } from "../cilium/service-map.js";
import { backgroundDelay, type Clock } from "../clock.js";
import { isOnehopError } from "../errors.js";
import { type CheckedFrontend, checkFrontend, type MemberBackend } from "./frontend-check.js";
import { FrontendPass } from "./frontend-pass.js";
import type { FamilyMaps } from "./map-set.js";

/** What a poll of one frontend came to. */
export type FrontendPoll =
  | {
      readonly kind: "present";
      /** Whether it is another view than that of the poll before. */
      readonly isChanged: boolean;
      readonly master: ServiceMaster;
      readonly members: readonly MemberBackend[];
    }
  | { readonly kind: "absent" }
  /** Nothing trustworthy could be read; the adopted view stands. */
  | { readonly kind: "doubt"; readonly reason: string; readonly error?: Error }
  /** Other maps were pinned since these were opened. */
  | { readonly kind: "replaced" };

type Adoptable = Extract<CheckedFrontend, { kind: "absent" | "present" }>;

/** A view that was adopted, with the bytes it was read from. */
interface AdoptedView {
  readonly bytes: Uint8Array;
  readonly content: Adoptable;
}

/** A stable pass, judged. */
type Judgement =
  | Adoptable
  | Extract<FrontendPoll, { kind: "doubt" }>
  | { readonly kind: "gap"; readonly reason: string; readonly view: AdoptedView };

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
  #adopted: AdoptedView | undefined;
  #gap: { readonly bytes: Uint8Array; readonly polls: number } | undefined;

  constructor(maps: FamilyMaps, address: string, port: number, clock: Clock) {
    this.#maps = maps;
    this.#address = address;
    this.#port = port;
    this.#clock = clock;
    this.#pass = new FrontendPass(maps, address, port);
  }

  /**
   * @throws OnehopError `ERR_ONEHOP_KERNEL` when a map cannot be read
   */
  async poll(): Promise<FrontendPoll> {
    this.#pass.read();
    let last: Judgement = { kind: "doubt", reason: "the entries changed between two passes" };
    for (const pauseMs of PASS_PAUSES_MS) {
      if (this.#adopted !== undefined && this.#pass.equals(this.#adopted.bytes)) return pollOf(this.#adopted, false);
      const before = this.#pass.bytes.slice();
      await backgroundDelay(this.#clock, pauseMs);
      this.#pass.read();
      if (!this.#pass.equals(before)) continue;
      last = this.#judge(before);
      if (last.kind === "absent" || last.kind === "present") return this.#adopt({ bytes: before, content: last });
    }
    if (last.kind !== "gap") return last;
    if (this.#isOldGap(last.view)) return this.#adopt(last.view);
    return { kind: "doubt", reason: last.reason };
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
      return { kind: "gap", reason: checked.gaps.join("; "), view: { bytes, content: checked } };
    }
    return checked;
  }

  #adopt(view: AdoptedView): FrontendPoll {
    if (!this.#maps.isCurrent()) return { kind: "replaced" };
    this.#adopted = view;
    this.#gap = undefined;
    return pollOf(view, true);
  }

  /**
   * Whether this is the last of enough polls in a row that found the same gap, with something to call beside it: where
   * nothing is left, the adopted view is still the best there is.
   */
  #isOldGap({ bytes, content }: AdoptedView): boolean {
    const isSame = this.#gap !== undefined && Buffer.compare(this.#gap.bytes, bytes) === 0;
    const polls = isSame ? (this.#gap?.polls ?? 0) + 1 : 1;
    this.#gap = { bytes, polls };
    const isLeft = content.kind === "present" && content.members.some(({ isTail }) => !isTail);
    return polls >= POLLS_UNTIL_GAPS_COUNT && isLeft && this.#pass.equals(bytes);
  }
}

function pollOf({ content }: AdoptedView, isChanged: boolean): FrontendPoll {
  if (content.kind === "absent") return content;
  return { kind: "present", isChanged, master: content.master, members: content.members };
}
