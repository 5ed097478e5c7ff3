import { EventEmitter } from "node:events";
import type { MeshEvent, MeshEventOf, MeshEventType } from "./model/event.js";

type Listener<T extends MeshEventType> = (event: MeshEventOf<T>) => void;

/** Typed events whose listeners cannot harm a call: what a listener throws becomes a process warning. */
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
      this.#warned.add(event.message);
    }
    for (const listener of this.#emitter.rawListeners(event.type)) {
      try {
        listener.call(this.#emitter, event);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        process.emitWarning(`a listener of onehop's "${event.type}" event threw: ${text}`, "OnehopWarning");
      }
    }
  };
}
