import { type EndpointTable, readEndpointList } from "./endpoint-list.js";
import { malformed, type SpecOrigin } from "./endpoint-spec.js";

/**
 * Reads the bytes of a JSON file that holds an endpoint list.
 *
 * @param path for messages
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` naming the path, the line and column or the key, and the fix
 */
export function readEndpointFile(bytes: Uint8Array, path: string): EndpointTable {
  const origin: SpecOrigin = { code: "ERR_ONEHOP_MALFORMED", label: path };
  return readEndpointList(parseJson(decodeText(bytes, origin), origin), origin);
}

/** UTF-8, with or without a byte order mark. */
function decodeText(bytes: Uint8Array, origin: SpecOrigin): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw malformed("the file is not UTF-8 text; save it as UTF-8", origin);
  }
}

function parseJson(text: string, origin: SpecOrigin): unknown {
  if (text.trim() === "") throw malformed('the file is empty; it must hold JSON such as {"services": {}}', origin);
  try {
    return JSON.parse(text);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw malformed(`no valid JSON${whereInText(text, what)}: ${what}; correct it`, origin);
  }
}

/** Line and column, where the engine's message tells the position. */
function whereInText(text: string, message: string): string {
  const position =
    /at position ([0-9]+)/.exec(message)?.[1] ?? (/Unexpected end/.test(message) ? text.length : undefined);
  if (position === undefined) return "";
  const lines = text.slice(0, Number(position)).split("\n");
  return ` at line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
}
