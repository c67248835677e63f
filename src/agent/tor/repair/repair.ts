/**
 * The repair path of a switch: the machine bound to the host table, to what the speakers hear, and to the kernel.
 *
 * Nothing of it stands before the wire: what happens is noted, and looked at in the next turn. In the moment of a
 * failure there is nothing to do: the kernel has the backup, and takes it.
 */
import type { TorConfig } from '../../../config/index.ts';
import { type Address, familyOf } from '../../../model/address.ts';
import { Alarm, type Clock, type Timer } from '../../../model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostDelta, HostRoute } from '../../../model/hosts.ts';
import { isUp, type LinkState } from '../../../model/ports.ts';
import type { HostRouteInstaller, RepairPath } from '../../../netlink/index.ts';
import type { RepairView } from '../../api.ts';
import type { EventLog } from '../../events.ts';
import type { ShadowKernel } from '../standing-by.ts';
import { HeldShadows } from './held-shadows.ts';
import { type Ending, type RepairEffect, type RepairEvent, RepairMachine } from './machine.ts';

/** How long a gateway takes at most to follow what it was told (ms): BIRD computes once a second with OSPF. */
export const MARGIN = 1_000;

/** Of what is new, in one turn of the loop. */
const PORTION = 1_000;

/** What is needed of the kernel; `RepairPath` fits. */
export type RepairKernel = Pick<
  RepairPath,
  'adopted' | 'setTunnel' | 'install' | 'remove' | 'flush' | 'has' | 'counters' | 'leave' | 'close'
> & { readonly hosts: Pick<RepairPath['hosts'], 'apply' | 'reconcile'> };

type HostInstaller = Pick<HostRouteInstaller, 'apply' | 'settled'>;

export interface RepairOptions {
  readonly config: () => TorConfig;
  /** undefined: switched off, or the box can't have it. */
  readonly kernel: RepairKernel | undefined;
  /** Why there is none although it is switched on. */
  readonly trouble: string | undefined;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly events: EventLog;
}

const ENDINGS: Record<Ending, string> = {
  claimed: 'another switch announces it',
  unclaimed: 'nobody has announced it',
  unbacked: 'nobody stands by for it any more',
  'left over': 'of an earlier run, and nobody stands by for it',
};

export class Repair {
  readonly #options: RepairOptions;
  readonly #machine: RepairMachine;
  readonly #shadows = new HeldShadows((address) => this.#machine.of(address).state !== 'none');
  readonly #news: RepairEvent[] = [];
  #turn: Timer | undefined;
  readonly #alarm: Alarm;
  #closed = false;

  constructor(options: RepairOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.#perform([{ type: 'time' }]));
    const { shadow, hostRoutes } = options.config();
    const { hold, twin } = shadow;
    this.#machine = new RepairMachine({ hold, twin, margin: MARGIN, limit: hostRoutes.policy.limits.total });
  }

  get on(): boolean {
    return this.#options.kernel !== undefined;
  }

  /** Hosts of an earlier life's backups are judged anew. */
  start(): void {
    const { kernel } = this.#options;
    if (!kernel) return;
    if (kernel.adopted.length > 0) this.#note({ type: 'adopted', addresses: kernel.adopted });
    this.linksChanged();
  }

  /** See HeldShadows. */
  beforeShadows(table: ShadowKernel): ShadowKernel {
    return this.on ? this.#shadows.before(table) : table;
  }

  /** What comes out of the tunnel goes where the routes of the host table go. */
  withExit(installer: HostInstaller): HostInstaller {
    const exit = this.#options.kernel?.hosts;
    if (!exit) return installer;
    return {
      settled: () => installer.settled(),
      apply: (delta) => {
        exit.apply(delta);
        return installer.apply(delta);
      },
    };
  }

  /** The host table is complete. */
  async settle(announced: readonly HostRoute[]): Promise<void> {
    await this.#options.kernel?.hosts.reconcile(announced.filter(({ shadow }) => !shadow));
  }

  /** Nothing comes of it in this turn. */
  delta({ withdrawn, announced }: HostDelta): void {
    const { kernel } = this.#options;
    if (!kernel) return;
    for (const address of withdrawn) this.#note({ type: 'gone', address });
    for (const host of announced) {
      this.#note(host.shadow ? { type: 'gone', address: host.address } : { type: 'ours', host });
    }
  }

  claim(claim: ForeignClaim): void {
    if (this.on) this.#note({ type: 'claim', claim });
  }

  shadow(shadow: ForeignShadow): void {
    const { twin } = this.#options.config().shadow;
    if (this.on && (twin === undefined || shadow.from === twin || !shadow.up)) this.#note({ type: 'shadow', shadow });
  }

  /** An uplink came or went, or its addresses changed. */
  linksChanged(): void {
    if (this.on) this.#note({ type: 'source', address: tunnelSource(this.#options.config(), this.#options.links) });
  }

  /** Where packets for this host would go through a tunnel if its own route were gone; undefined: nowhere. */
  viaOf(address: Address): Address | undefined {
    const found = this.#machine.of(address);
    return found.state === 'ready' && this.#options.kernel?.has(address) ? found.via : undefined;
  }

  view(): RepairView {
    const { ready, inUse, via } = this.#machine.summary();
    return { ready, inUse, via };
  }

  warnings(): string[] {
    const { trouble } = this.#options;
    return trouble === undefined ? [] : [`no repair path: ${trouble}`];
  }

  counters(): Record<string, Record<string, number>> {
    const { kernel } = this.#options;
    if (!kernel) return {};
    const { ready, inUse } = this.#machine.summary();
    return { repair: { ready, inUse, ...this.#machine.counters(), ...kernel.counters() } };
  }

  /** All that is of it in the kernel goes. */
  async stop(): Promise<void> {
    this.close();
    await this.#options.kernel?.leave();
  }

  /** It stays in the kernel. */
  close(): void {
    this.#closed = true;
    this.#turn?.cancel();
    this.#alarm.set(undefined);
    this.#options.kernel?.close();
  }

  #note(event: RepairEvent): void {
    if (this.#closed) return;
    this.#news.push(event);
    this.#nextTurn();
  }

  #nextTurn(): void {
    const { clock } = this.#options;
    this.#turn ??= clock.schedule(clock.now(), () => {
      this.#turn = undefined;
      this.#perform(this.#news.splice(0, PORTION));
      if (this.#news.length > 0) this.#nextTurn();
    });
  }

  #perform(news: readonly RepairEvent[]): void {
    const { kernel, clock } = this.#options;
    const now = clock.now();
    const inUse: Address[] = [];
    const over = new Map<Ending, Address[]>();
    for (const event of news) {
      for (const effect of this.#machine.handle(event, now)) {
        if (effect.type === 'inUse') inUse.push(effect.address);
        else if (effect.type === 'remove') {
          const ended = over.get(effect.ending);
          if (ended) ended.push(effect.address);
          else over.set(effect.ending, [effect.address]);
        }
        this.#do(effect);
      }
    }
    kernel!.flush();
    for (const ended of over.values()) this.#shadows.release(ended);
    this.#tell(inUse, over);
    this.#alarm.set(this.#machine.nextDeadline());
  }

  #do(effect: RepairEffect): void {
    const { events } = this.#options;
    const kernel = this.#options.kernel!;
    if (effect.type === 'install') kernel.install(effect.host, effect.twin);
    else if (effect.type === 'remove') kernel.remove(effect.address);
    else if (effect.type === 'tunnel') {
      const { twin, source, destination } = effect;
      const made = kernel.setTunnel(twin, { source, destination });
      const message = made
        ? `repair tunnel to ${twin}: ${source} to ${destination}`
        : `no repair tunnel to ${twin}: too many others stand by for our hosts`;
      events.record({ type: 'repair.tunnel', ...(made ? {} : { severity: 'warning' as const }), message });
    }
  }

  #tell(inUse: readonly Address[], over: ReadonlyMap<Ending, readonly Address[]>): void {
    const { events } = this.#options;
    if (inUse.length > 0) {
      const via = this.#machine.of(inUse[0]!);
      const to = via.state === 'none' || via.via === undefined ? 'the other switch' : via.via;
      const message = `${some(inUse)} reached through ${to} until the gateway has moved`;
      events.record({ type: 'repair.inUse', message, fields: { hosts: inUse.length } });
    }
    for (const [ending, addresses] of over) {
      const message = `no backup for ${some(addresses)} any more: ${ENDINGS[ending]}`;
      events.record({ type: 'repair.over', message, fields: { hosts: addresses.length, ending } });
    }
  }
}

/** An IPv4 address of an uplink that is up: what others send tunnels to, and ours begin at. */
export function tunnelSource({ portLink }: Pick<TorConfig, 'portLink'>, links: LinkState): Address | undefined {
  for (const name of new Set(portLink.flatMap(({ uplinks }) => uplinks))) {
    const port = links.port(name);
    if (!port || !isUp(port)) continue;
    const own = port.addresses.find(({ address }) => familyOf(address) === 4 && !address.startsWith('169.254.'));
    if (own) return own.address;
  }
  return undefined;
}

function some(addresses: readonly Address[]): string {
  return addresses.length <= 4
    ? addresses.join(' ')
    : `${addresses.slice(0, 3).join(' ')} and ${addresses.length - 3} more`;
}
