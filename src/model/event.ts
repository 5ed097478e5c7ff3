import type { Endpoint } from "./endpoint.js";
import type { SnapshotDiff } from "./snapshot.js";

/** Where the endpoints of a service come from at the moment. */
export type ViewState =
  /** Nothing is known yet. */
  | "pending"
  /** A verified view of a discovery. */
  | "endpoints"
  /** The last good view: the source cannot be read, is doubtful, or has just said that the service is empty. */
  | "stale"
  /** The service's own address is dialled: no view can be had, or the pods must not be dialled. */
  | "service-address"
  /** The discovery works and the service has no endpoints. */
  | "empty"
  /** Neither endpoints nor a service address are known. */
  | "unavailable";

/** Everything onehop tells about itself; `mesh.on(event.type, listener)` gets them. */
export type MeshEvent =
  /** The view of a service changed its state; `reason` says why. */
  | {
      readonly type: "discovery";
      readonly service: string;
      readonly port: number;
      readonly state: ViewState;
      readonly previous: ViewState;
      readonly source: string;
      readonly reason: string;
      readonly error?: Error;
    }
  /** A changed view was adopted. */
  | {
      readonly type: "endpoints";
      readonly service: string;
      readonly port: number;
      readonly source: string;
      readonly generation: number;
      readonly diff: SnapshotDiff;
    }
  /** A view was read that cannot be trusted (torn, malformed); the last good one stays. */
  | {
      readonly type: "doubt";
      readonly service: string;
      readonly port: number;
      readonly source: string;
      readonly reason: string;
      readonly error?: Error;
    }
  /** A pinned map was replaced and has been opened again. */
  | { readonly type: "reopen"; readonly source: string; readonly path: string }
  /** An endpoint's known identity is not the expected one; `obeyed` is false where most endpoints mismatch at once. */
  | {
      readonly type: "identity-mismatch";
      readonly service: string;
      readonly endpoint: Endpoint;
      readonly identity: number;
      readonly obeyed: boolean;
    }
  /** A failed attempt is followed by another one. */
  | {
      readonly type: "retry";
      readonly service: string;
      readonly attempt: number;
      readonly endpoint: Endpoint;
      readonly reason: string;
      readonly delayMs: number;
    }
  /** A retry was wanted and not made. */
  | {
      readonly type: "retry-suppressed";
      readonly service: string;
      readonly attempt: number;
      readonly reason:
        | "budget"
        | "deadline"
        | "body-not-replayable"
        | "not-idempotent"
        | "max-attempts"
        | "no-endpoint";
    }
  /** Something the user should know, without a service; said once per text. */
  | { readonly type: "warning"; readonly message: string; readonly error?: Error };

export type MeshEventType = MeshEvent["type"];

/** Keyed by the union's types, so that the compiler refuses one too few or too many. */
const TYPES: Readonly<Record<MeshEventType, true>> = {
  discovery: true,
  endpoints: true,
  doubt: true,
  reopen: true,
  "identity-mismatch": true,
  retry: true,
  "retry-suppressed": true,
  warning: true,
};

/** Every type of event there is. */
export const MESH_EVENT_TYPES: readonly MeshEventType[] = Object.keys(TYPES) as MeshEventType[];

export type MeshEventOf<T extends MeshEventType> = Extract<MeshEvent, { readonly type: T }>;

/** How lower layers tell events upward. Never throws. */
export type Notify = (event: MeshEvent) => void;
