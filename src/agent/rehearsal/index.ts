/**
 * A rehearsal of failovers, so that the first real one is not the slowest.
 *
 * JavaScript is compiled by use: a function runs interpreted at first, and is optimized for what it has seen after some
 * thousand calls. A switch may stand for months before its first failover, which would then run at a tenth of the speed
 * that every benchmark of the following ones shows, outage included. So at the start the agent plays some failovers
 * to itself: a second, complete `TorSwitch` with the protocols of the configuration, made of the very same classes, in
 * which hosts come, ports lose their carriers and an uplink goes; opposite it a gateway of our own speakers. A gateway that
 * routes does the same with two switches opposite it (gateway.ts).
 *
 * What it has instead of the machine is in `props.ts`: sinks for the kernel's messages, wires in memory, a clock that is
 * moved by hand. Addresses are of TEST-NET (RFC 5737) and of the benchmarking network (RFC 2544). Nothing of it reaches a
 * socket, the kernel, a file, the agent's own tables, events or counters.
 *
 * It runs in slices, the first and cold ones of some 10 ms, between which every other event has its turn, ends by itself, and is
 * dispensable: if it fails, the log says so and the agent goes on.
 */
import type { Loaded, TorConfig } from '../../config/index.ts';
import { type Address, ipv4FromNumber, type Mac } from '../../model/address.ts';
import type { Log } from '../../model/log.ts';
import { RehearsalClock } from './clock.ts';
import { PAUSE, perform, type RehearsalReport, settle } from './perform.ts';
import { gratuitousArp } from './props.ts';
import { DOWNLINKS, FIRST_HOST, REHEARSAL_PREFIX, Stage, UPLINK } from './stage.ts';

export { rehearseGateway } from './gateway.ts';
export type { RehearsalReport } from './perform.ts';

/** Hosts of a loss of many, and how often; then single ones, whose way through the code is another. */
const CROWD = 256;
/** Small at first, while everything is slow. */
const CROWDS = [...Array(16).fill(16), ...Array(8).fill(64), ...Array(24).fill(CROWD)] as readonly number[];
const SINGLE_LOSSES = 400;
const UPLINK_LOSSES = 4;
/** Frames of one slice. */
const PORTION = 16;

/**
 * Resolves when the rehearsal is over or `signal` has ended it; never rejects.
 *
 * @param loaded the agent's configuration: which protocols are rehearsed, and with what settings
 */
export function rehearse(
  loaded: Loaded & { readonly config: TorConfig },
  log: Log,
  signal: AbortSignal,
): Promise<RehearsalReport | undefined> {
  return perform(() => Stage.build(loaded, new RehearsalClock(), REHEARSAL_PREFIX), play, log, signal);
}

function* play(stage: Stage): Generator<void> {
  yield* settle(stage);
  for (const [round, size] of CROWDS.entries()) yield* crowd(stage, DOWNLINKS[round % DOWNLINKS.length]!, size);
  for (let round = 0; round < SINGLE_LOSSES; round++) yield* single(stage, DOWNLINKS[0]!, round);
  for (let round = 0; round < UPLINK_LOSSES; round++) yield* uplink(stage);
}

const frameOf = (host: number): Uint8Array => {
  const octets = host.toString(16).padStart(4, '0');
  const mac = `02:00:00:00:${octets.slice(0, 2)}:${octets.slice(2, 4)}` as Mac;
  return gratuitousArp(mac, ipv4FromNumber(FIRST_HOST + host) as Address);
};

const FRAMES: readonly Uint8Array[] = Array.from({ length: CROWD }, (_, host) => frameOf(host));

/** Many hosts behind a port whose carrier goes. */
function* crowd(stage: Stage, port: string, size: number): Generator<void> {
  for (let start = 0; start < size; start += PORTION) {
    stage.say(port, FRAMES.slice(start, start + PORTION));
    yield;
  }
  yield* stage.passing(PAUSE);
  stage.lose(port);
  yield;
  yield* stage.passing(PAUSE);
  stage.restore(port);
  yield;
}

/** One host that comes, speaks again, and goes with its port. */
function* single(stage: Stage, port: string, round: number): Generator<void> {
  const frame = [FRAMES[round % CROWD]!];
  stage.say(port, frame);
  yield;
  stage.say(port, frame);
  yield* stage.passing(PAUSE);
  stage.lose(port);
  yield;
  yield* stage.passing(PAUSE);
  stage.restore(port);
  yield;
}

/** The only uplink goes: the group withdraws its hosts and shuts the downlinks; then all comes back. */
function* uplink(stage: Stage): Generator<void> {
  for (const port of DOWNLINKS) stage.say(port, FRAMES.slice(0, PORTION));
  yield* stage.passing(PAUSE);
  stage.lose(UPLINK);
  yield;
  yield* stage.passing(PAUSE);
  stage.restore(UPLINK);
  yield* settle(stage);
}
