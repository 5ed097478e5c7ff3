import { EventEmitter } from "node:events";
import { OnehopError } from "./errors.js";
import { MESH_EVENT_TYPES, type MeshEvent, type MeshEventOf, type MeshEventType } from "./model/event.js";
import { nearest, shown } from "./validation.js";

type Listener<T extends MeshEventType> = (event: MeshEventOf<T>) => void;

/** Bounds the memory for warnings that were told; beyond it some may be told again. */
const MOST_WARNINGS = 1_000;

/**
 * Typed events whose listeners cannot harm a call: what a listener throws, or rejects with, becomes a process warning.
 * `on`, `once` and `off` throw an OnehopError `ERR_ONEHOP_CONFIG` when there is no such event or the listener is no
 * function.
 */
export class MeshEventEmitter {
  readonly #emitter = new EventEmitter();
  readonly #warned = new Set<string>();

  on<T extends MeshEventType>(type: T, listener: Listener<T>): void {
    checkListener(type, listener);
    this.#emitter.on(type, listener);
  }

  once<T extends MeshEventType>(type: T, listener: Listener<T>): void {
    checkListener(type, listener);
    this.#emitter.once(type, listener);
  }

  off<T extends MeshEventType>(type: T, listener: Listener<T>): void {
    checkListener(type, listener);
    this.#emitter.off(type, listener);
  }

  /** Tells the listeners, in the order they came. Never throws. A warning is told once per text. */
  readonly emit = (event: MeshEvent): void => {
    if (event.type === "warning") {
      if (this.#warned.has(event.message)) return;
      if (this.#warned.size >= MOST_WARNINGS) this.#warned.clear();
      this.#warned.add(event.message);
    }
    for (const listener of this.#emitter.rawListeners(event.type)) {
      try {
        const returned: unknown = listener.call(this.#emitter, event);
        if (returned instanceof Promise) returned.catch((error: unknown) => warnOf(event, error));
      } catch (error) {
        warnOf(event, error);
      }
    }
  };
}

function checkListener(type: unknown, listener: unknown): void {
  if (!MESH_EVENT_TYPES.some((known) => known === type)) {
    const near = typeof type === "string" ? nearest(type, MESH_EVENT_TYPES) : undefined;
    const hint = near === undefined ? "" : `; did you mean "${near}"?`;
    throw new OnehopError(
      "ERR_ONEHOP_CONFIG",
      `unknown event ${shown(type)}${hint} (known: ${MESH_EVENT_TYPES.join(", ")})`,
    );
  }
  if (typeof listener !== "function") {
    throw new OnehopError(
      "ERR_ONEHOP_CONFIG",
      `the listener of the event ${shown(type)}: expected a function, got ${shown(listener)}`,
    );
  }
}

function warnOf(event: MeshEvent, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  process.emitWarning(`a listener of onehop's "${event.type}" event threw: ${text}`, "OnehopWarning");
}
