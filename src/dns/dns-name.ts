const LABEL = /^[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?$/;

/** Longest textual name without the root dot (RFC 1035 §3.1: 255 bytes with lengths and root). */
const LONGEST_NAME = 253;

/**
 * Whether `name` (lower case, without a trailing dot) can be asked for: labels of 1 to 63 letters, digits, hyphens or
 * underscores, 253 characters in all (RFC 1035 §2.3.4; the underscore for service labels, RFC 2782).
 */
export function isDnsName(name: string): boolean {
  return name.length <= LONGEST_NAME && name.split(".").every((label) => LABEL.test(label));
}
