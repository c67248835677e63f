/** The ports of the box, with their addresses, as the kernel tells them on a socket that carries nothing else. */
import { type ChangeOf, type InterfaceAddress, type Link, Subscription, vrfTable } from 'rtnetlink-ts';
import { type Address, parseAddress, parseMac } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import { type LinkState, onLink, type Port, type PortChange } from '../model/ports.ts';
import { Listeners } from './listeners.ts';

export interface LinksOptions {
  readonly netns?: string | undefined;
  readonly clock: Clock;
  readonly receiveBuffer: number;
  readonly onError: (error: unknown) => void;
}

type PortAddresses = Port['addresses'];

const NONE: PortAddresses = [];

export class Links implements LinkState {
  readonly #subscription: Subscription;
  readonly #byIndex = new Map<number, Port>();
  readonly #byName = new Map<string, Port>();
  readonly #addresses = new Map<number, PortAddresses>();
  readonly #listeners = new Listeners<PortChange>();
  readonly #afterwards = new Listeners<PortChange>();

  static async open(options: LinksOptions): Promise<Links> {
    const subscription = await Subscription.open({
      kinds: ['link', 'address'],
      netns: options.netns,
      now: () => options.clock.now(),
      receiveBuffer: options.receiveBuffer,
      onError: options.onError,
    });
    return new Links(subscription);
  }

  private constructor(subscription: Subscription) {
    this.#subscription = subscription;
    for (const address of subscription.table('address').values()) this.#addAddress(address);
    for (const link of subscription.table('link').values()) this.#store(this.#portOf(link));
    subscription.onChange((change) => {
      if (change.kind === 'link') this.#linkChanged(change);
      else if (change.kind === 'address') this.#addressChanged(change);
    });
  }

  get counters(): Subscription['counters'] {
    return this.#subscription.counters;
  }

  port(name: string): Port | undefined {
    return this.#byName.get(name);
  }

  portByIndex(ifindex: number): Port | undefined {
    return this.#byIndex.get(ifindex);
  }

  ports(): Iterable<Port> {
    return this.#byIndex.values();
  }

  /**
   * The kernel tells of this port's carrier without delay: it stands on another one (veth, VLAN), for which
   * net/core/link_watch.c makes an exception.
   */
  isToldAtOnce(ifindex: number): boolean {
    const lower = this.#subscription.table('link').get(String(ifindex))?.link ?? 0;
    return lower !== 0 && lower !== ifindex;
  }

  /** The port whose own subnet holds `address`. */
  portTowards(address: Address): Port | undefined {
    for (const port of this.#byIndex.values()) if (onLink(port, address)) return port;
    return undefined;
  }

  onChange(listener: (change: PortChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** For what follows from a change in the kernel: in the same turn, but after all listeners of `onChange`. */
  afterChange(listener: (change: PortChange) => void): () => void {
    return this.#afterwards.add(listener);
  }

  /** Notifications were lost, and what they told of has been found by comparing; a port that flapped shows no change. */
  afterResync(listener: () => void): () => void {
    return this.#subscription.onResync(listener);
  }

  /**
   * Notifications were lost: until the second call, after everything was read again and the differences told, what is
   * known of the ports is not the truth.
   */
  onBlind(listener: (blind: boolean, reason: string) => void): () => void {
    const lost = (reason: string): void => listener(true, `${reason}; the ports are read anew`);
    if (this.#subscription.lost !== undefined) lost(this.#subscription.lost);
    const ends = [
      this.#subscription.onLost(lost),
      this.#subscription.onResync(() => listener(false, 'the ports were read again')),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Takes in what the kernel has notified up to now, in this turn. */
  readNow(): void {
    this.#subscription.readNow();
  }

  /** The carrier was read by other means, and no notification tells of it. */
  carrierRead(ifindex: number, carrier: boolean, at: Instant): void {
    const before = this.#byIndex.get(ifindex);
    if (before && before.carrier !== carrier) this.#replace(before, { ...before, carrier }, at);
  }

  close(): void {
    this.#subscription.close();
  }

  #linkChanged(change: ChangeOf<'link'>): void {
    const ifindex = (change.after ?? change.before)!.ifindex;
    const before = this.#byIndex.get(ifindex);
    if (!change.after) this.#addresses.delete(ifindex);
    this.#replace(before, change.after && this.#portOf(change.after), change.at);
  }

  #addressChanged(change: ChangeOf<'address'>): void {
    if (change.before) this.#removeAddress(change.before);
    if (change.after) this.#addAddress(change.after);
    const { ifindex } = (change.after ?? change.before)!;
    const before = this.#byIndex.get(ifindex);
    if (before) this.#replace(before, { ...before, addresses: this.#addresses.get(ifindex) ?? NONE }, change.at);
  }

  #replace(before: Port | undefined, after: Port | undefined, at: Instant): void {
    if (before && after && samePort(before, after)) return;
    if (before) {
      this.#byIndex.delete(before.ifindex);
      // A renamed port's old name may be another port's by now.
      if (this.#byName.get(before.name)?.ifindex === before.ifindex) this.#byName.delete(before.name);
    }
    if (after) this.#store(after);
    if (before && after && before.name !== after.name) {
      this.#tell({ name: before.name, before, after: undefined, at });
      this.#tell({ name: after.name, before: undefined, after, at });
    } else if (before || after) this.#tell({ name: (after ?? before)!.name, before, after, at });
  }

  #tell(change: PortChange): void {
    this.#listeners.tell(change);
    this.#afterwards.tell(change);
  }

  #store(port: Port): void {
    this.#byIndex.set(port.ifindex, port);
    this.#byName.set(port.name, port);
  }

  #portOf(link: Link): Port {
    const table = link.kind === 'vrf' ? vrfTable(link.kindData) : undefined;
    return {
      name: link.name,
      ifindex: link.ifindex,
      mac: link.address === undefined ? undefined : parseMac(link.address),
      mtu: link.mtu,
      adminUp: link.up,
      carrier: link.carrier ?? this.#byIndex.get(link.ifindex)?.carrier ?? false,
      ...(link.protoDown ? { protoDown: true } : {}),
      master: link.master,
      kind: link.kind,
      ...(table === undefined ? {} : { vrfTable: table }),
      addresses: this.#addresses.get(link.ifindex) ?? NONE,
    };
  }

  #addAddress({ ifindex, address, prefixLength }: InterfaceAddress): void {
    const own = parseAddress(address);
    if (!own) return;
    this.#removeAddress({ ifindex, address, prefixLength });
    this.#addresses.set(ifindex, [...(this.#addresses.get(ifindex) ?? NONE), { address: own, prefixLength }]);
  }

  #removeAddress(gone: Pick<InterfaceAddress, 'ifindex' | 'address' | 'prefixLength'>): void {
    const left = (this.#addresses.get(gone.ifindex) ?? NONE).filter(
      ({ address, prefixLength }) => address !== gone.address || prefixLength !== gone.prefixLength,
    );
    this.#addresses.set(gone.ifindex, left);
  }
}

function samePort(one: Port, other: Port): boolean {
  return (
    one.name === other.name &&
    one.adminUp === other.adminUp &&
    one.carrier === other.carrier &&
    one.protoDown === other.protoDown &&
    one.master === other.master &&
    one.mac === other.mac &&
    one.mtu === other.mtu &&
    one.kind === other.kind &&
    one.vrfTable === other.vrfTable &&
    (one.addresses === other.addresses ||
      (one.addresses.length === other.addresses.length &&
        one.addresses.every(
          (own, index) =>
            own.address === other.addresses[index]!.address &&
            own.prefixLength === other.addresses[index]!.prefixLength,
        )))
  );
}
