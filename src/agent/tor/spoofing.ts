/**
 * Who claims a host that he is not: by the kernel's neighbour table, whose entry he has taken; by the host table, where
 * the host refuted him, or where bindings say that he can't be it. Each port is told of when it begins and when it is
 * over, and the operator is warned meanwhile; what is done about it is done elsewhere (src/netlink/neighbour-guard.ts,
 * src/hostroutes/machine/takeovers.ts).
 */
import type { HostRoutes, HostRoutesOptions } from '../../hostroutes/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';
import type { NeighbourEvent } from '../../netlink/index.ts';
import type { EventLog } from '../events.ts';

/** Without another claim for so long it is over. */
const OVER_MS = 60_000;
/** Ports, and behind bridges places that are none, of which is told; there are not more downlinks in a rack. */
const PORTS = 1_024;
/** Addresses of one port that are told apart. */
const ADDRESSES = 16;
/** The kernel may hear of a host's new MAC before the table does, and the table has to ask. */
const DOUBT_MS = 500;
/** Claims that are doubted at once; of more, nothing else would be told. */
const DOUBTED = 64;
const REFUSALS: ReadonlySet<string> = new Set(['binding', 'refuted']);

interface Episode {
  readonly addresses: Set<Address>;
  claims: number;
  last: { readonly address: Address; readonly mac: string | undefined };
  /** Over, unless there is another claim before. */
  until: Instant;
}

interface Claim {
  readonly port: string;
  readonly address: Address;
  readonly mac: string | undefined;
  /** Where the host is. */
  readonly home?: string | undefined;
}

export interface SpoofingOptions {
  readonly neighbours: { onNeighbour(listener: (event: NeighbourEvent) => void): () => void };
  readonly installer: { neighbourChanged(event: NeighbourEvent): HostRoute | undefined };
  readonly hosts: Pick<HostRoutes, 'claimedInKernel' | 'find'>;
  readonly clock: Clock;
  readonly events: Pick<EventLog, 'record'>;
}

export class Spoofing {
  readonly #options: SpoofingOptions;
  readonly #episodes = new Map<string, Episode>();
  readonly #doubted = new Map<Address, Claim>();
  readonly #unsubscribe: () => void;
  #timer: Timer | undefined;
  #doubt: Timer | undefined;

  constructor(options: SpoofingOptions) {
    this.#options = options;
    this.#unsubscribe = options.neighbours.onNeighbour((event) => this.#neighbourChanged(event));
  }

  /** What the host table has to tell. */
  heard(news: Parameters<HostRoutesOptions['onEvent']>[0]): void {
    if (news.type === 'spoofed') this.#claimed({ ...news, home: news.home.port }, 1);
    else if (news.type === 'refused' && news.mac !== undefined && REFUSALS.has(news.reason))
      this.#claimed(
        { ...news, mac: news.mac, home: this.#options.hosts.find(news.address)?.port },
        1 + news.suppressed,
      );
  }

  warnings(): string[] {
    return Array.from(this.#episodes, ([port, { addresses, claims, last }]) => {
      const others =
        addresses.size > 1 ? ` and ${addresses.size - 1}${addresses.size === ADDRESSES ? ' or more' : ''} others` : '';
      return `${who(last.mac, port)} claims ${last.address}${others}, which it is not (${claims} times): not believed`;
    });
  }

  close(): void {
    this.#unsubscribe();
    this.#timer?.cancel();
    this.#doubt?.cancel();
  }

  #neighbourChanged(event: NeighbourEvent): void {
    const host = this.#options.installer.neighbourChanged(event);
    if (!host) return;
    const { hosts, clock } = this.#options;
    const claim = hosts.claimedInKernel(event);
    if (!claim || this.#doubted.size >= DOUBTED) return;
    const { address, mac } = event;
    this.#doubted.set(address, { port: claim.port ?? host.interface, address, mac, home: claim.home });
    this.#doubt ??= clock.schedule(clock.now() + DOUBT_MS, () => this.#decide());
  }

  #decide(): void {
    this.#doubt = undefined;
    for (const claim of this.#doubted.values())
      if (this.#options.hosts.find(claim.address)?.mac !== claim.mac) this.#claimed(claim, 1);
    this.#doubted.clear();
  }

  #claimed({ port, address, mac, home }: Claim, times: number): void {
    const { clock, events } = this.#options;
    const at = clock.now();
    let episode = this.#episodes.get(port);
    if (!episode) {
      if (this.#episodes.size >= PORTS) return;
      episode = { addresses: new Set(), claims: 0, last: { address, mac }, until: 0 };
      this.#episodes.set(port, episode);
      events.record({
        type: 'hosts.spoofed',
        severity: 'warning',
        message: `${who(mac, port)} claims ${address}, which is ${home === undefined || home === port ? 'another host' : `on ${home}`}: not believed`,
        fields: {
          port,
          address,
          ...(mac === undefined ? {} : { mac }),
          ...(home === undefined ? {} : { home }),
          began: true,
        },
      });
      this.#timer ??= clock.schedule(at + OVER_MS, () => this.#end());
    }
    episode.claims += times;
    episode.last = { address, mac };
    episode.until = at + OVER_MS;
    if (episode.addresses.size < ADDRESSES) episode.addresses.add(address);
  }

  #end(): void {
    this.#timer = undefined;
    const { clock, events } = this.#options;
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [port, { until, claims, addresses }] of this.#episodes) {
      if (now < until) {
        next = Math.min(next, until);
        continue;
      }
      this.#episodes.delete(port);
      events.record({
        type: 'hosts.spoofed',
        message: `nobody on ${port} claims others' addresses any more; ${claims} claims were not believed`,
        fields: { port, claims, addresses: [...addresses], began: false },
      });
    }
    if (next < Number.POSITIVE_INFINITY) this.#timer = clock.schedule(next, () => this.#end());
  }
}

const who = (mac: string | undefined, port: string): string => `${mac ?? 'somebody'} on ${port}`;
