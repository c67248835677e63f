/**
 * Binds one team to a server's namespace. The kernel here has no bonding, so the team is a bridge that doesn't learn,
 * with two isolated ports, and the standby is closed in three ways:
 *
 * - The port listens (802.1D) instead of forwarding. Not blocking or disabled: a bridge without STP puts a blocking
 *   port to forwarding whenever it looks at its ports, and a disabled one at that port's next link event.
 * - The port is locked (what arrives from an address that the bridge doesn't know is dropped, and it knows none) and
 *   not flooded to. A port whose carrier is back is put to forwarding by the kernel in any case; until the `standby` of
 *   the machine takes that back, this keeps the server from answering on both links.
 * - The port is in a group of links whose output is dropped (`silence.ts`): a broadcast that
 *   the server itself begins in that moment would leave by both, and the wrong switch would believe it.
 *
 * An active-active server has no standby: both ports forward and learn, so that what it answers leaves by the link on
 * which it was asked, and the loss of one link leaves the other.
 *
 * A link that takes over tells all addresses that the server has at the moment, as the kernel does (NETDEV_NOTIFY_PEERS).
 * Thousands are told in portions: all servers' kernels are one process here, and none may hold up another's.
 */
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { BR_STATE, decodeInterfaceAddress, type LinkChange, Malformed, type Message, RTM } from 'rtnetlink-ts';
import { monotonic } from '../monotonic.ts';
import { isUsable, LinkSetter, type Listener, listenAddresses, listenLinks } from '../netlink.ts';
import type { NicName, Server, ServerName } from '../topology/plan.ts';
import { gratuitousArp } from './arp.ts';
import { type TeamEffect, TeamMachine } from './machine.ts';
import { unsolicitedAdvertisement } from './neighbour-discovery.ts';
import { SILENT, silenceGroup } from './silence.ts';

/** `at` in milliseconds of CLOCK_MONOTONIC. */
export interface TeamRecord {
  readonly at: number;
  readonly server: ServerName;
  readonly event: 'link-lost' | 'link-back' | 'garp' | 'no-link' | 'refused';
  readonly nic?: NicName;
  readonly detail?: string;
}

const NICS: readonly NicName[] = ['eth-a', 'eth-b'];
/** Addresses told in one turn. */
const PORTION = 64;

export class Team {
  readonly #server: Server;
  readonly #machine: TeamMachine;
  readonly #record: (record: TeamRecord) => void;
  readonly #setter: LinkSetter;
  readonly #links: Listener;
  readonly #addresses: readonly Listener[];
  readonly #activeActive: boolean;
  readonly #ifindex: Record<NicName, number>;
  readonly #sender: LinuxSocket;
  /** By address: what tells it. */
  readonly #announcements = new Map<string, Buffer>();
  #timer: NodeJS.Timeout | undefined;
  #telling: NodeJS.Immediate | undefined;

  constructor(
    netns: string,
    server: Server,
    updelay: number,
    record: (record: TeamRecord) => void,
    onReady: () => void = () => undefined,
    activeActive = false,
  ) {
    silenceGroup(netns);
    this.#server = server;
    this.#machine = new TeamMachine(server.primary, updelay);
    this.#record = record;
    this.#activeActive = activeActive;
    this.#sender = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    this.#setter = new LinkSetter(netns, (errno) => this.#note('refused', undefined, `errno ${errno}`));
    this.#ifindex = withNetns(netns, () => ({ 'eth-a': interfaceIndex('eth-a'), 'eth-b': interfaceIndex('eth-b') }));
    const bond = withNetns(netns, () => interfaceIndex('bond0'));
    this.#addresses = ([4, 6] as const).map((family) =>
      listenAddresses(netns, (message) => this.#addressIs(message, bond), family),
    );
    const atStart = { 'eth-a': false, 'eth-b': false };
    let started = false;
    this.#links = listenLinks(
      netns,
      (link, gone) => {
        const nic = NICS.find((name) => this.#ifindex[name] === link.ifindex);
        if (!nic) return;
        if (started) this.#linkIs(nic, !gone && isUsable(link));
        else atStart[nic] = isUsable(link);
      },
      () => {
        started = true;
        if (activeActive) for (const nic of NICS) this.#linkIs(nic, atStart[nic]);
        else for (const effect of this.#machine.start(atStart)) this.#perform(effect);
        onReady();
      },
    );
  }

  close(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#telling);
    this.#links.close();
    for (const listener of this.#addresses) listener.close();
    this.#setter.close();
    this.#sender.close();
  }

  #addressIs(message: Message, bond: number): void {
    if (message.type !== RTM.NEWADDR && message.type !== RTM.DELADDR) return;
    const entry = decodeInterfaceAddress(message);
    if (entry instanceof Malformed || entry.ifindex !== bond) return;
    const text = String(entry.address);
    if (message.type === RTM.DELADDR) this.#announcements.delete(text);
    else if (!text.includes(':')) this.#announcements.set(text, gratuitousArp(this.#server.mac, text));
    else if (!text.startsWith('fe80:')) this.#announcements.set(text, unsolicitedAdvertisement(this.#server.mac, text));
  }

  /** Both links of an active-active server, each for itself. */
  #both(nic: NicName, up: boolean): void {
    if (!up) return;
    const port = { family: AF.BRIDGE, ifindex: this.#ifindex[nic] };
    const flood = { unicastFlood: true, multicastFlood: true, broadcastFlood: true };
    const change = { ...port, bridgePort: { locked: false, learning: true, ...flood, state: BR_STATE.FORWARDING } };
    this.#setter.apply([{ ifindex: this.#ifindex[nic], group: 0 }, change]);
    this.#announce(nic);
  }

  #linkIs(nic: NicName, up: boolean): void {
    if (this.#machine.isUp(nic) === up) return;
    const at = monotonic();
    const effects = this.#machine.link(nic, up, at);
    if (this.#activeActive) this.#both(nic, up);
    else for (const effect of effects) this.#perform(effect);
    this.#record({ at, server: this.#server.name, event: up ? 'link-back' : 'link-lost', nic });
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const deadline = this.#machine.nextDeadline();
    if (deadline === undefined || this.#activeActive) return;
    this.#timer = setTimeout(
      () => {
        for (const effect of this.#machine.tick(monotonic())) this.#perform(effect);
        this.#arm();
      },
      Math.max(0, Math.ceil(deadline - monotonic())),
    );
  }

  #role(nic: NicName, active: boolean): LinkChange[] {
    const port = { family: AF.BRIDGE, ifindex: this.#ifindex[nic] };
    const flood = { unicastFlood: active, multicastFlood: active, broadcastFlood: active };
    const changes: LinkChange[] = [
      { ifindex: port.ifindex, group: active ? 0 : SILENT },
      { ...port, bridgePort: { locked: !active, ...flood } },
    ];
    // A port without carrier is disabled already, and the kernel refuses to change that.
    if (this.#machine.isUp(nic)) {
      changes.push({ ...port, bridgePort: { state: active ? BR_STATE.FORWARDING : BR_STATE.LISTENING } });
    }
    return changes;
  }

  #note(event: TeamRecord['event'], nic?: NicName, detail?: string): void {
    this.#record({
      at: monotonic(),
      server: this.#server.name,
      event,
      ...(nic && { nic }),
      ...(detail && { detail }),
    });
  }

  #announce(nic: NicName): void {
    clearImmediate(this.#telling);
    this.#tell(nic, [...this.#announcements.values()]);
    this.#note('garp', nic);
  }

  #tell(nic: NicName, frames: readonly Buffer[]): void {
    const to = { family: 'packet' as const, ifindex: this.#ifindex[nic], protocol: ETH_P.ALL };
    const messages = frames.slice(0, PORTION).map((data) => ({ data, to }));
    for (let sent = 0; sent < messages.length; ) sent += this.#sender.sendBatch(messages.slice(sent));
    if (frames.length > PORTION) this.#telling = setImmediate(() => this.#tell(nic, frames.slice(PORTION)));
  }

  #perform(effect: TeamEffect): void {
    if (effect.kind === 'none') {
      this.#note('no-link');
      return;
    }
    if (effect.kind === 'standby') {
      this.#setter.apply(this.#role(effect.nic, false));
      return;
    }
    const standby: NicName = effect.to === 'eth-a' ? 'eth-b' : 'eth-a';
    this.#setter.apply([...this.#role(effect.to, true), ...this.#role(standby, false)]);
    this.#announce(effect.to);
  }
}
