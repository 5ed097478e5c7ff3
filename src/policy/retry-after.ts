import type { Random } from "../random.js";

/**
 * The longest wait that is read from a header, in milliseconds: 5 minutes, Linkerd's ceiling for such hints. No single
 * header keeps an endpoint away for longer, and no timer is set beyond what Node can hold (2^31 − 1 ms; longer ones
 * fire at once).
 */
export const MAX_RETRY_AFTER_MS = 300_000;

/** How far a hint may move a computed pause, in milliseconds: the AWS SDKs' clamp (2026). */
export const MAX_HINT_EXTENSION_MS = 5_000;

/** Share of the pause that is added at random, so that the clients which got the same hint do not return together. */
const HINT_JITTER_RATIO = 0.5;

const DELTA_SECONDS = /^[0-9]+$/;
const IMF_FIXDATE = /^([A-Z][a-z]{2}), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT$/;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * Reads a `Retry-After` field (RFC 9110, section 10.2.3): whole seconds, or a date in the preferred form
 * (`Sun, 06 Nov 1994 08:49:37 GMT`). The obsolete date forms are not read; no server is known to send them here.
 *
 * @param text the field's value; spaces and tabs around it do not count
 * @param wallNowMs wall-clock milliseconds since 1970, because the field may name a moment of the wall clock
 * @returns milliseconds to wait in 0..{@link MAX_RETRY_AFTER_MS}, 0 for a date that has passed; undefined for anything
 * else, which is to be treated as no hint
 */
export function parseRetryAfter(text: string, wallNowMs: number): number | undefined {
  const value = text.replace(/^[ \t]+|[ \t]+$/g, "");
  const waitMs = DELTA_SECONDS.test(value) ? Number(value) * 1_000 : untilDate(value, wallNowMs);
  return waitMs === undefined ? undefined : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS);
}

/**
 * The pause before a retry when the server gave a hint: at least what backoff computed, at most 5 s more, and up to
 * half as much again at random.
 *
 * @param hintMs what the server asked for
 * @param computedMs what backoff would wait without it
 */
export function hintedDelay(hintMs: number, computedMs: number, random: Random): number {
  const clamped = Math.min(Math.max(hintMs, computedMs), computedMs + MAX_HINT_EXTENSION_MS);
  return clamped * (1 + HINT_JITTER_RATIO * random());
}

function untilDate(value: string, wallNowMs: number): number | undefined {
  const match = IMF_FIXDATE.exec(value);
  if (match === null) return undefined;
  const [, dayName = "", day, monthName = "", year, hours, minutes, seconds] = match;
  const month = MONTHS.indexOf(monthName);
  // A leap second is 60.
  if (month < 0 || Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 60) return undefined;
  const midnight = new Date(Date.UTC(Number(year), month, Number(day)));
  // Date.UTC carries 31 February over into March; such a date comes back changed.
  const isRealDate =
    midnight.getUTCFullYear() === Number(year) &&
    midnight.getUTCMonth() === month &&
    midnight.getUTCDay() === DAYS.indexOf(dayName);
  if (!isRealDate) return undefined;
  return midnight.getTime() + ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000 - wallNowMs;
}
