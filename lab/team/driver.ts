/**
 * Binds one team to a server's namespace. The kernel here has no bonding, so the team is a bridge that doesn't learn,
 * with two isolated ports, and the standby is closed in two ways:
 *
 * - The port listens (802.1D) instead of forwarding. Not blocking or disabled: a bridge without STP puts a blocking
 *   port to forwarding whenever it looks at its ports, and a disabled one at that port's next link event.
 * - The port is locked (what arrives from an address that the bridge doesn't know is dropped, and it knows none) and
 *   not flooded to. A port whose carrier is back is put to forwarding by the kernel in any case; until the `standby` of
 *   the machine takes that back, this keeps the server from answering on both links. Only a broadcast that the server
 *   itself begins in that millisecond would leave by both.
 */
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { BR_STATE, type LinkChange } from 'rtnetlink-ts';
import { monotonic } from '../monotonic.ts';
import { isUsable, LinkSetter, type Listener, listenLinks } from '../netlink.ts';
import type { NicName, Server, ServerName } from '../topology/plan.ts';
import { gratuitousArp } from './arp.ts';
import { type TeamEffect, TeamMachine } from './machine.ts';

/** `at` in milliseconds of CLOCK_MONOTONIC. */
export interface TeamRecord {
  readonly at: number;
  readonly server: ServerName;
  readonly event: 'link-lost' | 'link-back' | 'garp' | 'no-link' | 'refused';
  readonly nic?: NicName;
  readonly detail?: string;
}

const NICS: readonly NicName[] = ['eth-a', 'eth-b'];

export class Team {
  readonly #server: Server;
  readonly #machine: TeamMachine;
  readonly #record: (record: TeamRecord) => void;
  readonly #setter: LinkSetter;
  readonly #links: Listener;
  readonly #ifindex: Record<NicName, number>;
  readonly #sender: LinuxSocket;
  readonly #garp: Buffer;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    netns: string,
    server: Server,
    updelay: number,
    record: (record: TeamRecord) => void,
    onReady: () => void = () => undefined,
  ) {
    this.#server = server;
    this.#machine = new TeamMachine(server.primary, updelay);
    this.#record = record;
    this.#garp = gratuitousArp(server.mac, server.address);
    this.#sender = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    this.#setter = new LinkSetter(netns, (errno) => this.#note('refused', undefined, `errno ${errno}`));
    this.#ifindex = withNetns(netns, () => ({ 'eth-a': interfaceIndex('eth-a'), 'eth-b': interfaceIndex('eth-b') }));
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
        for (const effect of this.#machine.start(atStart)) this.#perform(effect);
        onReady();
      },
    );
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#links.close();
    this.#setter.close();
    this.#sender.close();
  }

  #linkIs(nic: NicName, up: boolean): void {
    if (this.#machine.isUp(nic) === up) return;
    const at = monotonic();
    for (const effect of this.#machine.link(nic, up, at)) this.#perform(effect);
    this.#record({ at, server: this.#server.name, event: up ? 'link-back' : 'link-lost', nic });
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const deadline = this.#machine.nextDeadline();
    if (deadline === undefined) return;
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
    const changes: LinkChange[] = [{ ...port, bridgePort: { locked: !active, ...flood } }];
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
    this.#sender.send({
      data: this.#garp,
      to: { family: 'packet', ifindex: this.#ifindex[effect.to], protocol: ETH_P.ARP },
    });
    this.#note('garp', effect.to);
  }
}
