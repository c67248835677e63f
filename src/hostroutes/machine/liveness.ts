import type { Instant } from '../../model/clock.ts';
import { CONTESTED_MS } from './claims.ts';
import { isHeld } from './damping.ts';
import { GRID_MS } from './grid.ts';
import type { Host } from './host.ts';
import type { CompiledPolicy } from './policy.ts';

/** A doubted host is asked three times with little patience: the answer decides where traffic goes. */
const VERIFY_TIMEOUT_MS = 50;
const VERIFY_PROBES = 3;

/** Part of the interval by which a routine question may come early. */
const SPREAD = 1 / 8;

export type Step = 'wait' | 'ask' | 'silent';

export function nextStep(host: Host, rules: CompiledPolicy, now: Instant): Step {
  if (!rules.probing || !host.answersProbes) return 'wait';
  if (now < askDue(host, rules)) return 'wait';
  return isExhausted(host, rules) ? 'silent' : 'ask';
}

/** When to look at the host again, whatever for. */
export function nextWake(host: Host, rules: CompiledPolicy): Instant {
  let wake = Math.min(host.settleAt, host.doubtAt);
  if (isHeld(host) && host.heldUntil < wake) wake = host.heldUntil;
  if (rules.probing && host.answersProbes) wake = Math.min(wake, onGrid(host, askDue(host, rules), rules));
  return wake;
}

/** A doubt is not made to wait. */
function onGrid(host: Host, due: Instant, rules: CompiledPolicy): Instant {
  const routine = host.asking === 'routine' || (host.asking === 'no' && !host.contested);
  if (!routine) return due;
  const grid = isExhausted(host, rules) ? rules.verdicts : GRID_MS;
  return Math.ceil(due / grid) * grid;
}

/** It was asked as often as it may be: the next look is the verdict. */
function isExhausted(host: Host, rules: CompiledPolicy): boolean {
  return host.asking !== 'no' && host.attempts >= probesAllowed(host, rules);
}

export function answerTimeout(host: Host, rules: CompiledPolicy): number {
  return host.asking === 'routine' ? rules.policy.probe.timeout : VERIFY_TIMEOUT_MS;
}

function probesAllowed(host: Host, rules: CompiledPolicy): number {
  return host.asking === 'routine' ? 1 + rules.policy.probe.retries : VERIFY_PROBES;
}

function askDue(host: Host, rules: CompiledPolicy): Instant {
  if (host.asking !== 'no') return host.askAt;
  const { round } = rules;
  const { interval } = rules.policy.probe;
  const patience = interval - host.spread * (interval * SPREAD - round);
  if (host.contested) return host.heardAt + Math.min(CONTESTED_MS, patience);
  const due = host.heardAt + patience;
  if (round === 0) return due;
  const first = (host.turn * GRID_MS) % round;
  return Math.floor((due - first) / round) * round + first;
}
