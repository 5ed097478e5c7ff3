import type { Membership, StormLog, StormService } from "./storm-plan.js";

/** Answers who was a member when. */
export class MembershipLog {
  readonly #byPlace = new Map<string, Membership[]>();

  constructor({ memberships }: StormLog) {
    for (const membership of memberships) {
      const place = placeOf(membership.service, membership.address);
      const known = this.#byPlace.get(place);
      if (known === undefined) this.#byPlace.set(place, [membership]);
      else known.push(membership);
    }
  }

  /** Whether the address was a member of the service at any time from `from` to `to`. */
  wasMember(service: StormService, address: string, from: number, to: number): boolean {
    const known = this.#byPlace.get(placeOf(service, address)) ?? [];
    return known.some((membership) => membership.from <= to && membership.to >= from);
  }
}

function placeOf(service: StormService, address: string): string {
  return `${service} ${address}`;
}
