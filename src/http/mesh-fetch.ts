import type { Dispatcher } from "undici";
import type { DispatchExtras, MeshDispatcher } from "./mesh-dispatcher.js";
import { makeBody } from "./request-body.js";

/** A request body that a function makes, anew for each attempt. */
export type BodyFactory = () => NonNullable<RequestInit["body"]>;

/** What `mesh.fetch` takes beside what `fetch` takes. */
export interface MeshRequestInit<Options> extends Omit<RequestInit, "body" | "dispatcher"> {
  /** As for `fetch`, or a function that makes the body: it is called once for each attempt. */
  body?: RequestInit["body"] | BodyFactory;
  /** Rules for this call. */
  onehop?: Options;
  /** Where hosts that are no mesh services go. Default: the global dispatcher. */
  dispatcher?: unknown;
}

/**
 * The runtime's own `fetch` over the mesh's dispatcher: its Response, Request and FormData are the global ones.
 *
 * A body that is in memory, or that a function makes, is handed to the dispatcher as it is, since `fetch` turns every
 * body into a stream that can be read once.
 */
export async function meshFetch(
  dispatcher: MeshDispatcher,
  extras: (options: unknown) => DispatchExtras,
  input: string | URL | Request,
  init: MeshRequestInit<unknown> = {},
): Promise<Response> {
  const { onehop, dispatcher: own, body, ...rest } = init;
  const encoded = encodeBody(body);
  const passThrough = own as Dispatcher | undefined;
  const settled: DispatchExtras = {
    ...(onehop === undefined ? {} : extras(onehop)),
    ...(encoded.again === undefined ? {} : { bodyAgain: encoded.again }),
    ...(passThrough === undefined ? {} : { passThrough }),
  };
  const request = {
    ...rest,
    ...(body === undefined ? {} : { body: encoded.first ?? null }),
    ...(encoded.isStream === true ? { duplex: "half" } : {}),
    dispatcher: callDispatcher(dispatcher, settled),
  };
  return fetch(input, request as unknown as RequestInit);
}

/** The dispatcher with the extras of one call, as far as `fetch` and undici's `request` use one. */
export function callDispatcher(dispatcher: MeshDispatcher, extras: DispatchExtras): Pick<Dispatcher, "dispatch"> {
  if (Object.keys(extras).length === 0) return dispatcher;
  return { dispatch: (options, handler) => dispatcher.dispatchWith(options, extras, handler) };
}

interface EncodedBody {
  /** What `fetch` gets. */
  readonly first: RequestInit["body"];
  /** The same body for a second and later attempt; undefined where only `fetch` can read it. */
  readonly again: unknown;
  readonly isStream?: boolean;
}

function encodeBody(body: MeshRequestInit<unknown>["body"]): EncodedBody {
  if (typeof body === "function") {
    const first = makeBody(body);
    return { first, again: body, isStream: first instanceof ReadableStream || Symbol.asyncIterator in Object(first) };
  }
  // `fetch` reads these when it is called: what the caller does to them later changes no attempt.
  if (body instanceof FormData) return { first: body, again: formCopy(body) };
  if (body instanceof URLSearchParams) return { first: body, again: body.toString() };
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
    return { first: body, again: body instanceof ArrayBuffer ? new Uint8Array(body.slice(0)) : viewCopy(body) };
  }
  return { first: body, again: typeof body === "string" || body instanceof Blob ? body : undefined };
}

function viewCopy(view: ArrayBufferView): Uint8Array {
  return Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
}

function formCopy(form: FormData): FormData {
  const copy = new FormData();
  for (const [name, value] of form) copy.append(name, value);
  return copy;
}
