import { type Address, familyOf, ipv4ToNumber, type Prefix, prefixAddress, prefixLength } from '../../model/address.ts';
import { Alarm, type Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayChange, OverlayState } from '../../model/overlay.ts';
import type { LinkState, PortChange } from '../../model/ports.ts';
import type { Ageing } from './ageing/driver.ts';
import type { PeerUpkeep } from './ageing/peers.ts';
import type { Instances } from './instances.ts';
import { listCache, listFlows, programCounters, type Reading } from './listings.ts';
import type { Attachments } from './loader/attachments.ts';
import type { Loaded } from './loader/objects.ts';
import type { Pins } from './loader/pins.ts';
import { PORTS, type ProgramName } from './maps/layout.ts';
import { indexKey, raise } from './maps/tables.ts';
import { concernedHosts, forgetWays, knownPeers, type RemoteHost, remoteHosts } from './peers.ts';
import { leavesRewriting, lifeFor, sayFarewell } from './rewriting.ts';
import { compileRules } from './rules/compile.ts';
import type { RuleTable } from './rules/table.ts';
import { encodeSettings } from './settings.ts';
import { tunnelPort } from './tunnel-port.ts';
import type {
  CacheView,
  FastPath,
  FastPathCounters,
  FastPathSettings,
  FastPathStatus,
  FlowView,
  RuleView,
} from './types.ts';

/** What `open.ts` has put together. */
export interface EbpfParts {
  readonly links: LinkState;
  readonly clock: Clock;
  readonly pins: Pins;
  readonly loaded: Loaded;
  readonly attachments: Attachments;
  readonly instances: Instances;
  readonly rules: RuleTable;
  readonly ageing: Ageing;
  readonly peers: PeerUpkeep;
  readonly adopted: boolean;
  /** Counts of what was made invalid, by reason. */
  readonly invalidated: Record<string, number>;
  readonly stopWatching: () => void;
  /** Somebody had taken the programs from these devices, or their maps from the file system; they are back. */
  readonly mended: ((devices: readonly string[]) => void) | undefined;
  readonly netns: string | undefined;
  readonly log: Log | undefined;
}

const HOOKS = { nic_ingress: 'ingress', nic_egress: 'egress' } as const;
const PORT_MASK = PORTS - 1;
const NOT_BACK = 'programs of the fast path that somebody has taken away could not be put back, it is tried again';

export class EbpfFastPath implements FastPath {
  readonly #parts: EbpfParts;
  readonly #settings: FastPathSettings;
  #state: OverlayState;
  #hosts: readonly RemoteHost[];
  #underlay: { readonly device: string; readonly ifindex: number } | undefined;
  #underlayProblem: string | undefined;
  #ruleProblem: string | undefined;
  readonly #look: Alarm;
  /** To be said as soon as there is a device to say it by. */
  #owesFarewell = false;
  #closed = false;

  constructor(parts: EbpfParts, settings: FastPathSettings, state: OverlayState) {
    this.#parts = parts;
    this.#settings = settings;
    this.#state = state;
    this.#hosts = remoteHosts(state);
    parts.peers.follow(this.#hosts.map(({ address }) => address));
    this.#look = new Alarm(parts.clock, () => this.#lookAfter());
  }

  /** The first picture: as `apply` would make it of nothing. */
  begin(): void {
    const { adopted, attachments, instances, links } = this.#parts;
    const state = this.#state;
    this.#installRules(state);
    // Whoever was here before may have gone without a word, and others still use its keys.
    this.#owesFarewell = !adopted && this.#settings.mode === 'rewrite';
    this.#followUnderlay(state);
    for (const instance of state.instances.values()) this.#addInstance(instance.name);
    instances.removeStrangers();
    attachments.detachStrangers([...links.ports()].map(({ ifindex }) => ifindex));
    // Nobody knows what has changed while nobody looked.
    if (adopted) {
      this.relearn();
      this.underlayChanged();
    }
    this.#look.set(this.#parts.clock.now() + this.#settings.checkInterval);
  }

  async apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void> {
    const before = this.#state;
    this.#state = state;
    if (changes.some(({ kind }) => kind === 'remote')) {
      this.#hosts = remoteHosts(state);
      this.#parts.peers.follow(this.#hosts.map(({ address }) => address));
    }
    const errors: unknown[] = [];
    const attempt = (run: () => void) => {
      try {
        run();
      } catch (error) {
        errors.push(error);
      }
    };
    // Instances that go, before anything could be sent to them by what comes.
    for (const change of changes) {
      if (change.kind === 'instance' && change.op === 'removed') {
        attempt(() => this.#parts.instances.remove(change.item));
      }
    }
    const policy = changes.some(({ kind }) => kind === 'policy');
    if (policy || this.#ruleProblem !== undefined || changes.some(({ kind }) => kind === 'network')) {
      attempt(() => this.#installRules(state));
    }
    if (this.#mustRelearn(before, state, changes)) attempt(() => this.relearn());
    else attempt(() => this.#forgetRemotes(state, changes));
    if (
      state.underlay.device !== before.underlay.device ||
      state.underlay.address !== before.underlay.address ||
      tunnelPort(state.networks.values()) !== tunnelPort(before.networks.values())
    ) {
      attempt(() => this.#followUnderlay(state));
      attempt(() => this.underlayChanged());
    }
    for (const change of changes) {
      if (change.kind === 'instance' && change.op === 'added') attempt(() => this.#addInstance(change.item.name));
    }
    this.#parts.instances.retryProblems();
    if (this.#underlayProblem !== undefined) attempt(() => this.#followUnderlay(state));
    if (errors.length > 0) throw new AggregateError(errors, errors.map((error) => (error as Error).message).join('; '));
  }

  underlayChanged(hosts?: readonly Address[]): void {
    const count = forgetWays(this.#parts.loaded.tables, hosts);
    this.#count('peers', count);
  }

  portChanged(ifindex: number): void {
    raise(this.#parts.loaded.tables.port_generation, ifindex & PORT_MASK);
    this.#count('ports', 1);
  }

  relearn(): void {
    raise(this.#parts.loaded.tables.generations, 0);
    this.#count('all', 1);
  }

  /** A route to `destination` came, changed or went: the ways of the peers in it. There may be many of no concern. */
  routeChanged(destination: Prefix): void {
    if (familyOf(destination) !== 4) return;
    const length = prefixLength(destination);
    const mask = length === 0 ? 0 : (-1 << (32 - length)) >>> 0;
    const network = ipv4ToNumber(prefixAddress(destination));
    const hosts = this.#hosts.filter(({ number }) => (number & mask) >>> 0 === network);
    if (hosts.length > 0) this.underlayChanged(hosts.map(({ address }) => address));
  }

  linkChanged(change: PortChange): void {
    const { name, before, after } = change;
    this.#parts.instances.portChanged(name, before, after);
    if (name !== this.#state.underlay.device) return;
    const same = before && after && before.ifindex === after.ifindex;
    if (!same || this.#underlayProblem !== undefined) {
      try {
        this.#followUnderlay(this.#state);
      } catch {
        // It stands in the status as a problem, and is tried again when the device changes.
      }
    }
    const moved = before?.mac !== after?.mac || before?.carrier !== after?.carrier || before?.mtu !== after?.mtu;
    if (!same || moved || before.adminUp !== after.adminUp) this.underlayChanged();
  }

  async cache(): Promise<CacheView> {
    return listCache(this.#reading(), this.#parts.instances);
  }

  async flows(limit = Number.POSITIVE_INFINITY): Promise<FlowView[]> {
    return listFlows(this.#reading(), limit);
  }

  counters(): FastPathCounters {
    const { ageing, invalidated, loaded, peers } = this.#parts;
    return {
      programs: programCounters(loaded.tables),
      ageing: ageing.counters(),
      peers: peers.counts(),
      invalidated: { ...invalidated },
    };
  }

  rules(): RuleView[] {
    return this.#parts.rules.views(this.#state.policy.rules);
  }

  status(): FastPathStatus {
    const { adopted, attachments, instances, links, pins, rules } = this.#parts;
    const problems = [this.#underlayProblem, this.#ruleProblem].filter((problem) => problem !== undefined);
    return {
      mode: this.#settings.mode,
      directory: pins.directory,
      adopted,
      attachments: [...attachments.all()].map(({ ifindex, direction, by }) => ({
        interface: links.portByIndex(ifindex)?.name ?? instances.interfaceOf(ifindex) ?? `ifindex ${ifindex}`,
        program: this.#programOn(ifindex, direction),
        by,
      })),
      masks: rules.compiled?.masks.length ?? 0,
      entries: rules.compiled?.entries.length ?? 0,
      problems: [...problems, ...instances.problems()],
    };
  }

  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#look.set(undefined);
    const { ageing, attachments, links, loaded, pins, stopWatching } = this.#parts;
    stopWatching();
    await ageing.close();
    try {
      if (!keep) {
        if (leavesRewriting(loaded.tables, undefined)) this.#sayFarewell();
        attachments.detachAll([...links.ports()].map(({ ifindex }) => ifindex));
        pins.remove();
      }
    } finally {
      loaded.close();
    }
  }

  /** A program that has gone from a device says nothing: in rewrite mode what others send would be for nobody until its keys end. */
  #lookAfter(): void {
    const { clock, links, loaded, log, mended, pins } = this.#parts;
    this.#look.set(clock.now() + this.#settings.checkInterval);
    try {
      const maps = pins.missingMaps();
      const lost = this.#lostDevices();
      if (lost.length === 0 && maps.length === 0) return;
      pins.make();
      pins.pinMaps(loaded.tables);
      for (const ifindex of lost) this.#putBack(ifindex);
      const still = this.#lostDevices();
      const back = lost.filter((ifindex) => !still.includes(ifindex));
      // What has passed meanwhile nobody has seen.
      if (back.length > 0) this.relearn();
      if (back.length + maps.length > 0)
        mended?.(back.map((ifindex) => links.portByIndex(ifindex)?.name ?? `ifindex ${ifindex}`));
    } catch (error) {
      log?.warn({ err: error }, NOT_BACK);
    }
  }

  /** Never throws: the other devices are not to wait for this one. */
  #putBack(ifindex: number): void {
    const { instances, log } = this.#parts;
    try {
      if (ifindex === this.#underlay?.ifindex) this.#followUnderlay(this.#state);
      else instances.again(ifindex);
    } catch (error) {
      log?.warn({ err: error, ifindex }, NOT_BACK);
    }
  }

  #lostDevices(): number[] {
    return [...new Set(this.#parts.attachments.lost().map(({ ifindex }) => ifindex))];
  }

  #addInstance(name: string): void {
    const instance = this.#state.instances.get(name);
    const network = instance && this.#state.networks.get(instance.network);
    if (instance && network) this.#parts.instances.add(instance, network);
  }

  #installRules(state: OverlayState): void {
    const { rules } = this.#parts;
    try {
      rules.install(state.policy.rules, compileRules(state.policy, state.networks));
      this.#ruleProblem = undefined;
      this.#count('rules', 1);
      setImmediate(() => this.#cleanRules());
    } catch (error) {
      this.#ruleProblem = `rules: ${(error as Error).message}`;
      throw error;
    }
  }

  /** What the old set held: after the turn, when no packet can be in the midst of it. */
  #cleanRules(): void {
    if (this.#closed) return;
    try {
      this.#parts.rules.clean();
    } catch (error) {
      this.#ruleProblem = `old rules: ${(error as Error).message}`;
    }
  }

  #followUnderlay(state: OverlayState): void {
    const { attachments, clock, links, loaded } = this.#parts;
    const { address, device } = state.underlay;
    const port = links.port(device);
    if (this.#underlay && this.#underlay.ifindex !== port?.ifindex) {
      for (const hook of Object.values(HOOKS)) attachments.detach(this.#underlay.ifindex, hook);
      this.#underlay = undefined;
    }
    if (!port) {
      this.#underlayProblem = `${device}: there is no such device`;
      return;
    }
    try {
      const { tables } = loaded;
      const life = lifeFor(tables, this.#settings, clock.now());
      if (leavesRewriting(tables, this.#settings)) this.#sayFarewell();
      const underlay = { address, ifindex: port.ifindex, port: tunnelPort(state.networks.values()) };
      tables.config.set(indexKey(0), encodeSettings(this.#settings, underlay, tables.connections.maxEntries, life));
      for (const [program, hook] of Object.entries(HOOKS)) {
        attachments.attach(loaded.program(program as ProgramName), port.ifindex, hook);
      }
      this.#underlay = { device, ifindex: port.ifindex };
      this.#underlayProblem = undefined;
      if (this.#owesFarewell) this.#sayFarewell(this.#hosts.map((host) => host.address));
      this.#owesFarewell = false;
    } catch (error) {
      this.#underlayProblem = `${device}: ${(error as Error).message}`;
      throw error;
    }
  }

  /** What the programs have seen of ways and translations may have been decided otherwise now. */
  #mustRelearn(before: OverlayState, after: OverlayState, changes: readonly OverlayChange[]): boolean {
    if (before.policy.default !== after.policy.default || before.policy.initiate !== after.policy.initiate) return true;
    return changes.some(
      (change) =>
        change.kind === 'network' ||
        change.kind === 'service' ||
        change.kind === 'snat' ||
        (change.kind === 'remote' && concernedHosts(after, change.item, change.op === 'added') === undefined),
    );
  }

  #forgetRemotes(state: OverlayState, changes: readonly OverlayChange[]): void {
    const hosts = changes.flatMap((change) =>
      change.kind === 'remote' ? (concernedHosts(state, change.item, change.op === 'added') ?? []) : [],
    );
    if (hosts.length > 0) this.underlayChanged(hosts);
  }

  /** To these hosts; to all that the programs have met, when absent. */
  #sayFarewell(hosts = knownPeers(this.#parts.loaded.tables.peers).map(({ peer }) => peer.address)): void {
    try {
      sayFarewell(this.#parts.loaded.tables, this.#state.underlay.address, hosts, this.#parts.netns);
    } catch (error) {
      // They notice by themselves when what they were told has not been told again.
      this.#parts.log?.warn({ err: error }, 'the other hosts were not told that keys of this host mean nothing now');
    }
  }

  #programOn(ifindex: number, direction: 'ingress' | 'egress'): ProgramName {
    if (ifindex === this.#underlay?.ifindex) return direction === 'ingress' ? 'nic_ingress' : 'nic_egress';
    return direction === 'ingress' ? 'from_instance' : 'to_instance';
  }

  #reading(): Reading {
    const { clock, links, loaded, rules } = this.#parts;
    const { send, receive } = this.#settings.lifetime;
    return {
      tables: loaded.tables,
      links,
      now: clock.now() * 1e6,
      lifetime: { send: send * 1e6, receive: receive * 1e6 },
      ruleName: (id) => rules.nameOf(id),
      rateName: (index) => rules.rateNameOf(index),
    };
  }

  #count(reason: string, by: number): void {
    const { invalidated } = this.#parts;
    invalidated[reason] = (invalidated[reason] ?? 0) + by;
  }
}
