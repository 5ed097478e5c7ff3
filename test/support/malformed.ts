import { expect } from "vitest";
import { isOnehopError, type OnehopError } from "../../src/errors.js";

/** Runs `action`, which must throw ERR_ONEHOP_MALFORMED, and returns the message. */
export function malformedMessage(action: () => unknown): string {
  const error = thrownBy(action);
  expect(error.code).toBe("ERR_ONEHOP_MALFORMED");
  return error.message;
}

function thrownBy(action: () => unknown): OnehopError {
  try {
    action();
  } catch (error) {
    if (isOnehopError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
