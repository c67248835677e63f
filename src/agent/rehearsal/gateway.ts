/**
 * The rehearsal of a gateway that routes. Its own way in a failover is another than a switch's: a port of its own loses the
 * carrier, or a session ends, while the other switch announces the hosts that have moved there. The first time that took
 * five to ten milliseconds, most of an outage.
 */
import type { GatewayConfig, Loaded } from '../../config/index.ts';
import type { Log } from '../../model/log.ts';
import { RehearsalClock } from './clock.ts';
import { GatewayStage, type Twin } from './gateway-stage.ts';
import { PAUSE, perform, type RehearsalReport, settle } from './perform.ts';

/** Hosts of a move of many, and how often. */
const CROWDS = [...Array(24).fill(16), ...Array(12).fill(64), ...Array(12).fill(256)] as readonly number[];
const SINGLE_MOVES = 300;
const LOSSES = 12;
/** Hosts behind a switch that is lost. */
const LOST = 64;
/** Hosts of one slice. */
const PORTION = 32;
/** What is said is heard within this. */
const ON_THE_WIRE = 1;
/** As `rehearse`, for a gateway. */
export function rehearseGateway(
  loaded: Loaded & { readonly config: GatewayConfig },
  log: Log,
  signal: AbortSignal,
): Promise<RehearsalReport | undefined> {
  return perform(() => GatewayStage.build(loaded, new RehearsalClock()), play, log, signal);
}

function* play(stage: GatewayStage): Generator<void> {
  yield* settle(stage);
  for (const [round, size] of CROWDS.entries()) yield* move(stage, ...inTurn(round), 0, size);
  const [first, second] = inTurn(CROWDS.length);
  yield* move(stage, first, second, 0, LOST);
  for (let round = 0; round < SINGLE_MOVES; round++) yield* move(stage, ...inTurn(round + 1 + CROWDS.length), 7, 1);
  for (let round = 0; round < LOSSES; round++) yield* lose(stage, ...inTurn(round), round % 3 === 2);
}

const inTurn = (round: number): [Twin, Twin] => (round % 2 === 0 ? ['A', 'B'] : ['B', 'A']);

/** Hosts that change over: one switch announces them, the other takes them back. */
function* move(stage: GatewayStage, from: Twin, to: Twin, first: number, count: number): Generator<void> {
  for (let start = 0; start < count; start += PORTION) {
    const size = Math.min(PORTION, count - start);
    stage.withdraw(from, first + start, size);
    stage.announce(to, first + start, size);
    yield;
    stage.pass(ON_THE_WIRE);
    yield;
  }
  yield* stage.passing(PAUSE);
}

/** A switch is lost, by its cable or by its session, and the other one gets its hosts; then it is back. */
function* lose(stage: GatewayStage, lost: Twin, other: Twin, silently: boolean): Generator<void> {
  stage.withdraw(other, 0, LOST);
  stage.announce(lost, 0, LOST);
  yield* stage.passing(PAUSE);
  // With backups at the gateway: the other stands by already.
  if (silently) stage.announce(other, 0, LOST, true);
  yield* stage.passing(PAUSE);
  if (silently) stage.silence(lost);
  else stage.cut(lost, true);
  stage.announce(other, 0, LOST);
  yield;
  yield* stage.passing(PAUSE);
  stage.withdraw(lost, 0, LOST);
  stage.cut(lost, false);
  yield* settle(stage);
}
