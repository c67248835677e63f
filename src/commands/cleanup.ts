import { Flags } from '@oclif/core';
import type { GatewayLeftovers } from '../agent/cleanup/gateway.ts';
import type { HostLeftovers } from '../agent/cleanup/host.ts';
import type { Leftovers } from '../agent/cleanup/index.ts';
import { BaseCommand, CommandFailure, EXIT } from '../cli/base-command.ts';
import { configFlag, configuredSocketFlag } from '../cli/file-flags.ts';
import type { Config, GatewayConfig, HostConfig, TorConfig } from '../config/index.ts';

type AnyLeftovers = Leftovers | GatewayLeftovers | HostLeftovers;

interface CleanedUp {
  readonly dryRun: boolean;
  readonly found: AnyLeftovers;
  /** What is there afterwards; in a dry run what is there. */
  readonly left: AnyLeftovers;
}

/** What is to be undone, by role, and its words. */
interface Work<Found extends { readonly problems: readonly string[] }> {
  find(): Promise<Found>;
  clean(purge: boolean): Promise<Found>;
  sentences(found: Found, purge: boolean): string[];
  close?(): void;
}

export default class Cleanup extends BaseCommand {
  static override summary = 'Undo what an agent left behind that died and will not be started again.';
  static override description =
    `Opens the ports that it had shut, and removes its host routes, learned routes, unreachable routes, the rules and
routes for shadows, the repair path, neighbour entries, the waiting room, and what it set on ports; of a gateway its
routes and next-hop objects; of a host its bridges, tunnels, routes, rules and programs.
For the day after a crash, and before the package is removed;
an agent that is stopped does this itself, and one that is started again goes on where the last one was.

Refuses while an agent answers. Holds and drains are remembered for the next start, unless --purge takes the state files too.
The configuration tells what is ours: kernel.protocol, kernel.table, ports, stateDirectory. Exit code 1 when something is left.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> --dry-run',
    { description: 'For good:', command: '<%= config.bin %> <%= command.id %> --purge' },
    { description: 'In a network namespace:', command: 'ip netns exec A <%= config.bin %> <%= command.id %>' },
  ];
  static override flags = {
    config: configFlag,
    socket: configuredSocketFlag,
    'dry-run': Flags.boolean({ description: 'only say what would be done' }),
    purge: Flags.boolean({ description: 'remove the state files too' }),
    force: Flags.boolean({ description: 'also while an agent answers, though it may put everything back' }),
  };

  override async run(): Promise<CleanedUp> {
    const { flags } = await this.parse(Cleanup);
    const { formatProblem, loadConfig } = await import('../config/index.ts');
    const loaded = loadConfig(flags.config);
    if (!loaded.ok) {
      throw new CommandFailure(
        EXIT.usage,
        loaded.problems.map(formatProblem).join('\n'),
        'Correct it, or name the file that the agent ran with: --config FILE.',
      );
    }
    const { config } = loaded;
    const dryRun = flags['dry-run'];
    const { answers } = await import('../agent/control/server.ts');
    const socket = flags.socket ?? config.control.socket;
    if (!dryRun && !flags.force && (await answers(socket))) {
      throw new CommandFailure(
        EXIT.no,
        `an agent answers on ${socket}: what is there is in use`,
        'Stop it first (systemctl stop peerless); it withdraws its routes by itself then.',
      );
    }
    if (!dryRun && !flags.force) {
      const { directoryInUse } = await import('../agent/state-directory.ts');
      const held = directoryInUse(config.stateDirectory);
      if (held !== undefined) throw new CommandFailure(EXIT.no, held, 'Its memory is what is cleaned up by.');
    }
    const done = await this.#asRole(config, dryRun, flags.purge);
    if (flags.purge && !dryRun && done.left.files.length === 0) {
      const { forgetLock } = await import('../agent/state-directory.ts');
      forgetLock(config.stateDirectory);
    }
    return done;
  }

  async #asRole(config: Config, dryRun: boolean, purge: boolean): Promise<CleanedUp> {
    switch (config.role) {
      case 'tor':
        return this.#do(await switchWork(config), dryRun, purge);
      case 'gateway':
        return this.#do(await gatewayWork(config), dryRun, purge);
      case 'host':
        return this.#do(await hostWork(config), dryRun, purge);
    }
  }

  async #do<Found extends AnyLeftovers>(work: Work<Found>, dryRun: boolean, purge: boolean): Promise<CleanedUp> {
    try {
      const found = await work.find();
      const was = work.sentences(found, purge);
      if (was.length === 0) this.log('Nothing of an agent is here.');
      for (const line of was) this.log(`${dryRun ? 'would be undone' : 'found'}: ${line}`);
      if (dryRun) {
        for (const problem of found.problems) this.logToStderr(`peerless: ${problem}`);
        return { dryRun, found, left: found };
      }
      const left = await work.clean(purge);
      const still = work.sentences(left, purge);
      for (const line of still) this.log(`STILL THERE: ${line}`);
      for (const problem of left.problems) this.logToStderr(`peerless: ${problem}`);
      if (still.length + left.problems.length > 0) this.endWith(EXIT.no);
      return { dryRun, found, left };
    } finally {
      work.close?.();
    }
  }
}

async function switchWork(config: TorConfig): Promise<Work<Leftovers>> {
  const { Cleanup: Undoing } = await import('../agent/cleanup/index.ts');
  const { makeLogger } = await import('../agent/logging.ts');
  const undoing = await Undoing.open(config, makeLogger('error'));
  return {
    find: () => undoing.find(),
    clean: (purge) => undoing.clean(purge),
    sentences,
    close: () => undoing.close(),
  };
}

async function gatewayWork(config: GatewayConfig): Promise<Work<GatewayLeftovers>> {
  const { GatewayCleanup } = await import('../agent/cleanup/gateway.ts');
  const undoing = new GatewayCleanup(config);
  return { find: () => undoing.find(), clean: (purge) => undoing.clean(purge), sentences: gatewaySentences };
}

async function hostWork(config: HostConfig): Promise<Work<HostLeftovers>> {
  const { HostCleanup } = await import('../agent/cleanup/host.ts');
  const undoing = new HostCleanup(config);
  return { find: () => undoing.find(), clean: (purge) => undoing.clean(purge), sentences: hostSentences };
}

const counted = (count: number, what: string) => (count === 0 ? [] : [`${count} ${what}`]);
const named = (names: readonly string[], what: string) => (names.length === 0 ? [] : [`${what} ${names.join(' ')}`]);

function sentences(found: Leftovers, purge: boolean): string[] {
  return [
    ...named(found.ports, 'shut:'),
    ...counted(found.hostRoutes, 'host routes'),
    ...counted(found.learnedRoutes, 'learned routes'),
    ...counted(found.unreachable, 'unreachable routes'),
    ...counted(found.shadows, 'rules and routes for shadows'),
    ...counted(found.repair, 'rules, routes and devices of the repair path'),
    ...named(found.passedOver, 'passed over without carrier (repair):'),
    ...named(found.addressesKept, 'addresses kept when shut (keep_addr_on_down):'),
    ...counted(found.neighbours, 'neighbour entries'),
    ...(found.waitingRoom ? ['the waiting room (plhold0, plhold1)'] : []),
    ...named(found.silenced, 'silenced by a storm:'),
    ...(purge ? named(found.files, 'state files:') : []),
  ];
}

function gatewaySentences(found: GatewayLeftovers, purge: boolean): string[] {
  return [
    ...counted(found.routes, 'learned routes'),
    ...counted(found.nextHops, 'next-hop objects'),
    ...named(found.settings, 'settings:'),
    ...(purge ? named(found.files, 'state files:') : []),
  ];
}

function hostSentences(found: HostLeftovers, purge: boolean): string[] {
  return [
    ...named(found.devices, 'devices:'),
    ...counted(found.routes, 'routes'),
    ...counted(found.rules, 'routing rules'),
    ...(found.ruleset ? ['the ruleset (nft table peerless)'] : []),
    ...(found.fastPath ? ['the programs of the fast path'] : []),
    ...(found.worker ? ['the packet worker'] : []),
    ...named(found.ovsPorts, 'ports of Open vSwitch:'),
    ...counted(found.ovsPlaceholders, 'neighbours of Open vSwitch that have no real MAC'),
    ...named(found.settings, 'settings:'),
    ...(purge ? named(found.files, 'state files:') : []),
  ];
}
