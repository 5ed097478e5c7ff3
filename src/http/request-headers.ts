import type { Dispatcher } from "undici";

type Headers = Dispatcher.DispatchOptions["headers"];
type HeaderValue = string | string[] | undefined;

/**
 * Request headers in any form undici takes, with `extra` in place of headers of the same name, whatever their case;
 * undefined removes a header.
 */
export function withHeaders(
  headers: Headers,
  extra: Readonly<Record<string, string | undefined>>,
): Record<string, HeaderValue> {
  const merged: Record<string, HeaderValue> = {};
  const replaced = new Set(Object.keys(extra).map((name) => name.toLowerCase()));
  for (const [name, value] of headerPairs(headers)) {
    if (replaced.has(name.toLowerCase())) continue;
    const before = merged[name];
    merged[name] = before === undefined ? value : [before, value ?? []].flat();
  }
  for (const [name, value] of Object.entries(extra)) {
    if (value !== undefined) merged[name] = value;
  }
  return merged;
}

function* headerPairs(headers: Headers): Generator<[string, HeaderValue]> {
  if (headers === null || headers === undefined) return;
  if (Array.isArray(headers)) {
    for (let index = 0; index + 1 < headers.length; index += 2) yield [headers[index] ?? "", headers[index + 1]];
  } else if (Symbol.iterator in headers) {
    yield* headers as Iterable<[string, HeaderValue]>;
  } else {
    yield* Object.entries(headers);
  }
}
