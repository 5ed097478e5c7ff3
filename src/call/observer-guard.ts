import type { Notify } from "../model/event.js";
import type { AttemptObserver, AttemptScope, AttemptStart } from "./observer.js";

/**
 * An observer that cannot harm a call: what it throws is told once as a `warning` event, and the attempt goes on as if
 * the observer were absent.
 */
export function guardObserver(observer: AttemptObserver, notify: Notify): AttemptObserver {
  const failed = (part: string, thrown: unknown): void => {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    notify({ type: "warning", message: `the attempt observer's ${part} threw: ${error.message}`, error });
  };
  return {
    attemptStarted(start: AttemptStart): AttemptScope | undefined {
      try {
        const scope = observer.attemptStarted(start);
        return scope === undefined ? undefined : guardScope(scope, failed);
      } catch (error) {
        failed("attemptStarted", error);
        return undefined;
      }
    },
  };
}

function guardScope(scope: AttemptScope, failed: (part: string, thrown: unknown) => void): AttemptScope {
  const { headers, run, callback, settled } = scope;
  return {
    ...(headers === undefined ? {} : { headers }),
    ...(run === undefined ? {} : { run: (dispatch: () => void) => runOnce("run", run, dispatch, failed) }),
    ...(callback === undefined
      ? {}
      : { callback: (deliver: () => void) => runOnce("callback", callback, deliver, failed) }),
    ...(settled === undefined
      ? {}
      : {
          settled: (record) => {
            try {
              settled(record);
            } catch (error) {
              failed("settled", error);
            }
          },
        }),
  };
}

/** Runs `step` through the observer's wrapper, and by itself where the wrapper throws before it or forgets it. */
function runOnce(
  part: string,
  wrapper: (step: () => void) => void,
  step: () => void,
  failed: (part: string, thrown: unknown) => void,
): void {
  let hasRun = false;
  let stepError: { readonly thrown: unknown } | undefined;
  const once = (): void => {
    if (hasRun) return;
    hasRun = true;
    try {
      step();
    } catch (thrown) {
      stepError = { thrown };
    }
  };
  try {
    wrapper(once);
  } catch (error) {
    failed(part, error);
  }
  once();
  if (stepError !== undefined) throw stepError.thrown;
}
