import { EventEmitter } from "node:events";
import type { MeshEvent, MeshEventOf, MeshEventType } from "./model/event.js";

type Listener<T extends MeshEventType> = (event: MeshEventOf<T>) => void;

/** Bounds the memory for warnings that were told; beyond it some may be told again. */
const MOST_WARNINGS = 1_000;

/**
 * Typed events whose listeners cannot harm a call: what a listener throws, or rejects with, becomes a process warning.
 */
export class MeshEventEmitter {
  readonly #emitter = new EventEmitter();
  readonly #warned = new Set<string>();

  on<T extends MeshEventType>(type: T, listener: Listener<T>): void {
    this.#emitter.on(type, listener);
  }

  once<T extends MeshEventType>(type: T, listener: Listener<T>): void {
    this.#emitter.once(type, listener);
  }

  off<T extends MeshEventType>(type: T, listener: Listener<T>): void {
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

function warnOf(event: MeshEvent, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  process.emitWarning(`a listener of onehop's "${event.type}" event threw: ${text}`, "OnehopWarning");
}
