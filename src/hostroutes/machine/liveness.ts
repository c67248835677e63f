import type { Instant } from '../../model/clock.ts';
import { CONTESTED_MS } from './claims.ts';
import { isHeld } from './damping.ts';
import type { Host } from './host.ts';
import type { CompiledPolicy } from './policy.ts';

/** A doubted host is asked three times with little patience: the answer decides where traffic goes. */
const VERIFY_TIMEOUT_MS = 50;
const VERIFY_PROBES = 3;

/** Part of the interval over which routine probes are spread. */
export const SPREAD = 1 / 8;

/**
 * Routine questions and the looks at their answers come on this grid (ms). Thousands of hosts have thousands of deadlines
 * a second: so they share the turns of the loop instead of having one each, and those that are silent at the same time
 * leave in one delta. It is a small part of the seconds for which a host was silent by then.
 */
const GRID_MS = 50;

export type Step = 'wait' | 'ask' | 'silent';

export function nextStep(host: Host, rules: CompiledPolicy, now: Instant): Step {
  if (!rules.probing || !host.answersProbes) return 'wait';
  if (now < askDue(host, rules)) return 'wait';
  return host.asking !== 'no' && host.attempts >= probesAllowed(host, rules) ? 'silent' : 'ask';
}

/** When to look at the host again, whatever for. */
export function nextWake(host: Host, rules: CompiledPolicy): Instant {
  let wake = Math.min(host.settleAt, host.doubtAt);
  if (isHeld(host) && host.heldUntil < wake) wake = host.heldUntil;
  if (rules.probing && host.answersProbes) wake = Math.min(wake, onGrid(host, askDue(host, rules)));
  return wake;
}

/** A doubt is not made to wait. */
function onGrid(host: Host, due: Instant): Instant {
  const routine = host.asking === 'routine' || (host.asking === 'no' && !host.contested);
  return routine ? Math.ceil(due / GRID_MS) * GRID_MS : due;
}

export function answerTimeout(host: Host, rules: CompiledPolicy): number {
  return host.asking === 'routine' ? rules.policy.probe.timeout : VERIFY_TIMEOUT_MS;
}

function probesAllowed(host: Host, rules: CompiledPolicy): number {
  return host.asking === 'routine' ? 1 + rules.policy.probe.retries : VERIFY_PROBES;
}

function askDue(host: Host, rules: CompiledPolicy): Instant {
  if (host.asking !== 'no') return host.askAt;
  const { interval } = rules.policy.probe;
  const patience = interval * (1 - host.spread);
  return host.heardAt + (host.contested ? Math.min(CONTESTED_MS, patience) : patience);
}
