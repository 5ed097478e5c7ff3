import type { CallPolicy } from "./call/call-service.js";
import type { ServicePolicy } from "./call/service-runtime.js";
import type { HttpPolicy } from "./http/http-call.js";
import type { CallOptions, ServiceOptions } from "./options.js";
import { DEFAULT_BACKOFF, THROTTLED_BACKOFF } from "./policy/backoff.js";
import { DEFAULT_LOCALITY_ORDER } from "./policy/locality-tiers.js";
import { DEFAULT_RETRY_STATUSES } from "./policy/resend.js";
import { DEFAULT_RETRY_BUDGET } from "./policy/retry-budget.js";
import { DEFAULT_RETRY_CONCURRENCY } from "./policy/retry-concurrency.js";

/** All rules of one service, every value settled. */
export interface SettledService extends ServicePolicy, HttpPolicy {
  readonly connectTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly tls: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Settles a service's rules: its own values win over the defaults of the mesh, these over the built-in ones, value by
 * value.
 */
export function settleService(own: ServiceOptions = {}, defaults: ServiceOptions = {}): SettledService {
  const options = { ...defaults, ...own };
  const retry = { ...defaults.retry, ...own.retry };
  const { timeoutMs = 15_000, perTryTimeoutMs } = options;
  const maxAttempts = retry.maxAttempts ?? 3;
  return {
    timeoutMs,
    perTryTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs ?? Math.min(1_000, perTryTimeoutMs ?? timeoutMs / maxAttempts),
    bodyIdleTimeoutMs: options.bodyIdleTimeoutMs ?? 300_000,
    drainTimeoutMs: options.drainTimeoutMs ?? 30_000,
    emptyGraceMs: options.emptyGraceMs ?? 5_000,
    maxAttempts,
    retryStatuses: new Set(retry.statuses ?? DEFAULT_RETRY_STATUSES),
    replayLimitBytes: retry.replayLimitBytes ?? 65_536,
    spread: retry.spread ?? "same-then-other",
    backoff: { ...DEFAULT_BACKOFF, ...defaults.retry?.backoff, ...own.retry?.backoff },
    throttledBackoff: THROTTLED_BACKOFF,
    retryBudget: { ...DEFAULT_RETRY_BUDGET, ...defaults.retry?.budget, ...own.retry?.budget },
    retryConcurrency: { ...DEFAULT_RETRY_CONCURRENCY, ...defaults.retry?.concurrency, ...own.retry?.concurrency },
    localityOrder: own.locality?.order ?? defaults.locality?.order ?? DEFAULT_LOCALITY_ORDER,
    expectIdentity: options.expectIdentity,
    dial: options.dial ?? "auto",
    tls: options.tls,
  };
}

/** The rules of one call: the service's, with what the caller set for it. */
export function callPolicy(service: SettledService, overrides: CallOptions | undefined): CallPolicy {
  if (overrides === undefined) return service;
  return {
    timeoutMs: overrides.timeoutMs ?? service.timeoutMs,
    perTryTimeoutMs: overrides.perTryTimeoutMs ?? service.perTryTimeoutMs,
    maxAttempts: overrides.retry?.maxAttempts ?? service.maxAttempts,
    backoff: service.backoff,
    throttledBackoff: service.throttledBackoff,
    spread: service.spread,
  };
}
