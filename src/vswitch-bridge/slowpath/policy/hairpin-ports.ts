/**
 * A client that is drawn as its own backend gets its packet back through the port that it came by, which a bridge does
 * only for a port in hairpin mode. Set on the ports of instances that are backends, as those come and go; what is sent to
 * all is kept from coming back by the ruleset.
 */
import { Rtnetlink, requests, Subscription } from 'rtnetlink-ts';
import type { Log } from '../../../model/log.ts';
import type { OverlayState } from '../../../model/overlay.ts';

export interface HairpinOptions {
  readonly log: Log;
  readonly netns?: string | undefined;
}

export class HairpinPorts {
  readonly #log: Log;
  readonly #links: Subscription;
  readonly #rtnetlink: Rtnetlink;
  #wanted: ReadonlySet<string> = new Set();
  /** Interface → the port that was set: its index and its bridge's. */
  readonly #set = new Map<string, string>();

  /** Rejects with SystemCallError. */
  static async open({ log, netns }: HairpinOptions): Promise<HairpinPorts> {
    const rtnetlink = Rtnetlink.open({ netns });
    try {
      return new HairpinPorts(log, rtnetlink, await Subscription.open({ kinds: ['link'], netns }));
    } catch (error) {
      rtnetlink.close();
      throw error;
    }
  }

  private constructor(log: Log, rtnetlink: Rtnetlink, links: Subscription) {
    this.#log = log;
    this.#rtnetlink = rtnetlink;
    this.#links = links;
    rtnetlink.unref();
    links.unref();
    links.onChange(({ kind, before, after }) => {
      if (kind === 'link' && this.#wanted.has(after?.name ?? before?.name ?? '')) this.#sync();
    });
    links.onResync(() => this.#sync());
  }

  follow({ services, instances }: Pick<OverlayState, 'services' | 'instances'>): void {
    const backends = new Set<string>();
    for (const service of services.values()) {
      for (const { address } of service.backends) backends.add(`${service.network} ${address}`);
    }
    const own = [...instances.values()].filter(({ network, address }) => backends.has(`${network} ${address}`));
    this.#wanted = new Set(own.map(({ interface: name }) => name));
    this.#sync();
  }

  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    if (!keep) {
      this.#wanted = new Set();
      await this.#sync();
    }
    this.#links.close();
    this.#rtnetlink.close();
  }

  async #sync(): Promise<void> {
    const ports = new Map<string, { readonly ifindex: number; readonly port: string }>();
    for (const { name, ifindex, master } of this.#links.table('link').values()) {
      if (master !== 0) ports.set(name, { ifindex, port: `${ifindex} ${master}` });
    }
    const changes: { name: string; ifindex: number; hairpin: boolean }[] = [];
    for (const [name, known] of this.#set) {
      const port = ports.get(name);
      if (port?.port === known && this.#wanted.has(name)) continue;
      this.#set.delete(name);
      if (port?.port === known) changes.push({ name, ifindex: port.ifindex, hairpin: false });
    }
    for (const name of this.#wanted) {
      const port = ports.get(name);
      if (!port || this.#set.has(name)) continue;
      this.#set.set(name, port.port);
      changes.push({ name, ifindex: port.ifindex, hairpin: true });
    }
    if (changes.length === 0) return;
    const { refused } = await this.#rtnetlink.batch(
      changes.map(({ ifindex, hairpin }) => requests.setBridgePort(ifindex, { hairpin })),
    );
    for (const { index, refusal } of refused) {
      const { name } = changes[index]!;
      this.#set.delete(name);
      // It may have left the bridge in between; its next event is the next attempt.
      this.#log.debug({ interface: name, reason: refusal.code }, 'a port did not take hairpin mode');
    }
  }
}
