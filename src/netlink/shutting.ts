/**
 * How a port is shut: by its admin state, or, where the device takes it, by protodown with a reason bit of our own.
 *
 * The admin state belongs to the operator: a port that we shut by it looks like one that he shut, and his `down` in the
 * meantime is lost when we open it again. Protodown (IFLA_PROTO_DOWN) is the kernel's second wish beside it, held by one
 * reason bit for each who wants the port down. What we used needs no memory: our bit in the kernel says it, also after a
 * crash. Others' reasons stay; the kernel keeps the port down until the last one is gone.
 */
import { type Link, NetlinkError, type Refusal, type Request, type Rtnetlink, requests } from 'rtnetlink-ts';
import { type Port, PortError } from '../model/ports.ts';
import type { Links } from './links.ts';

/** `auto`: protodown where the device takes it, else the admin state. */
export type ShutMethod = 'auto' | 'admin' | 'protodown';

export interface ShuttingOptions {
  readonly method?: ShutMethod;
  /** Our bit of IFLA_PROTO_DOWN_REASON, 0 to 31 (iproute2 up to 6.1 shows 0 to 7); nobody else's on the box. Default 5. */
  readonly protodownReason?: number;
}

const DEFAULT_PROTODOWN_REASON = 5;

/** It is down by our bit, whatever anybody remembers. */
export const isShutBy = (bit: number, link: Pick<Link, 'protoDownReason'>): boolean =>
  ((link.protoDownReason >>> bit) & 1) === 1;

export class Shutting {
  readonly #rtnetlink: Rtnetlink;
  readonly #links: Links;
  readonly #method: ShutMethod;
  readonly #bit: number;
  /** Devices that refuse protodown, by ifindex. */
  readonly #unable = new Set<number>();
  /** Does this kernel keep reasons? Before Linux 5.9 it ignores them, and who held a port down could not be told. */
  #reasonsKept: boolean | undefined;

  constructor(rtnetlink: Rtnetlink, links: Links, options: ShuttingOptions = {}) {
    this.#rtnetlink = rtnetlink;
    this.#links = links;
    this.#method = options.method ?? 'auto';
    this.#bit = (1 << (options.protodownReason ?? DEFAULT_PROTODOWN_REASON)) >>> 0;
    links.onChange(({ before, after }) => {
      if (before && !after) this.#unable.delete(before.ifindex);
    });
  }

  /**
   * Finds out which devices take protodown, so that a first shutting does not have to be asked twice. Asks for the
   * reason that is there already, which changes nothing.
   */
  async learn(names: Iterable<string>): Promise<void> {
    if (this.#method !== 'auto') return;
    const ports = [...names].flatMap((name) => this.#links.port(name) ?? []);
    const asked = ports.map(({ ifindex }): Request => {
      const value = (this.#rtnetlink.getLinkNow({ ifindex })?.protoDownReason ?? 0) & this.#bit;
      return requests.setLink({ ifindex, protoDownReason: { mask: this.#bit, value: value >>> 0 } });
    });
    const { refused } = await this.#rtnetlink.sendNow(asked);
    for (const { index, refusal } of refused) {
      if (refusal.code === 'EOPNOTSUPP') this.#unable.add(ports[index]!.ifindex);
    }
  }

  /** The kernel has done it when this returns. Resolves to the ports that it refused, with its words. */
  async set(ports: readonly Port[], up: boolean): Promise<Error[]> {
    return up ? this.#open(ports) : this.#shut(ports);
  }

  async #shut(ports: readonly Port[]): Promise<Error[]> {
    const first = ports.map((port) => this.#shutting(port));
    const { refused, result } = this.#rtnetlink.sendAndSee(first.map(({ request }) => request));
    const byAdmin = this.#second(ports, first, refused);
    const second = this.#rtnetlink.sendNow(byAdmin.map(({ ifindex }) => requests.setLink({ ifindex, up: false })));
    const again = new Set(byAdmin);
    const errors = (await result).refused
      .filter(({ index }) => !again.has(ports[index]!))
      .map(({ index, refusal }) => refusedPort(ports[index]!, refusal));
    for (const { index, refusal } of (await second).refused) errors.push(refusedPort(byAdmin[index]!, refusal));
    return errors;
  }

  #shutting(port: Port): { readonly protodown: boolean; readonly request: Request } {
    const { ifindex } = port;
    // In protodown already: somebody else's, maybe without a reason, and we would end it when we take ours away.
    const able = !this.#unable.has(ifindex) && port.protoDown !== true;
    const protodown =
      this.#reasonsKept !== false && (this.#method === 'protodown' || (this.#method === 'auto' && able));
    const change = protodown
      ? { ifindex, protoDown: true, protoDownReason: { mask: this.#bit, value: this.#bit } }
      : { ifindex, up: false };
    return { protodown, request: requests.setLink(change) };
  }

  /** In the same turn: who has to be shut by the admin state after all. */
  #second(
    ports: readonly Port[],
    asked: readonly { readonly protodown: boolean }[],
    refused: readonly { readonly index: number; readonly refusal: Refusal }[],
  ): Port[] {
    const unable = refused.filter(({ index, refusal }) => asked[index]!.protodown && refusal.code === 'EOPNOTSUPP');
    for (const { index } of unable) this.#unable.add(ports[index]!.ifindex);
    const again = this.#method === 'auto' ? unable.map(({ index }) => ports[index]!) : [];
    const failed = new Set(refused.map(({ index }) => index));
    const done = ports.filter((_, index) => asked[index]!.protodown && !failed.has(index));
    if (!done[0] || this.#reasonsKept) return again;
    this.#reasonsKept = this.#isOurs(this.#rtnetlink.getLinkNow({ ifindex: done[0].ifindex }));
    if (this.#reasonsKept) return again;
    // The admin state is asked for next, by the caller, and before that the port must not open.
    this.#rtnetlink.sendNow(done.map(({ ifindex }) => requests.setLink({ ifindex, up: false, protoDown: false })));
    return [...again, ...done];
  }

  async #open(ports: readonly Port[]): Promise<Error[]> {
    const asked = ports.map(({ ifindex }) => this.#opening(ifindex));
    const { refused } = await this.#rtnetlink.sendNow(asked.map((change) => requests.setLink(change)));
    return (
      refused
        // EBUSY: another's reason came meanwhile; ours is gone, which is all that we may ask for.
        .filter(({ index, refusal }) => !(refusal.code === 'EBUSY' && asked[index]!.protoDown === false))
        .map(({ index, refusal }) => refusedPort(ports[index]!, refusal))
    );
  }

  #opening(ifindex: number): Parameters<typeof requests.setLink>[0] {
    // Read afresh: our own shutting may not have been notified yet.
    const link = this.#rtnetlink.getLinkNow({ ifindex });
    if (!this.#isOurs(link)) return { ifindex, up: true };
    const ours = { mask: this.#bit, value: 0 };
    const others = (link!.protoDownReason & ~this.#bit) !== 0;
    return others ? { ifindex, protoDownReason: ours } : { ifindex, protoDown: false, protoDownReason: ours };
  }

  #isOurs(link: Link | undefined): boolean {
    return link !== undefined && (link.protoDownReason & this.#bit) !== 0;
  }
}

function refusedPort({ name }: Port, refusal: Refusal): Error {
  const error = new NetlinkError(refusal);
  return new PortError(name, error.message, { cause: error });
}
