/** Makes hosts say who they are, as any host does sooner or later: an ARP request and a solicitation for the gateway. */
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import type { LabHost } from './cases/case.ts';
import { hostsOf } from './cases/fib.ts';
import { arpRequest, gratuitousArp } from './team/arp.ts';
import { neighbourSolicitation, unsolicitedAdvertisement } from './team/neighbour-discovery.ts';
import { type Family, GATEWAY_ADDRESS, GATEWAY_ADDRESS6, namespaceOf } from './topology/plan.ts';

type Speaker = Pick<LabHost, 'node' | 'device' | 'mac' | 'address' | 'address6'>;

export const letServersSpeak = (lab: string, families: readonly Family[] = [4]): void =>
  letSpeak(lab, hostsOf(), families);

/** Each asks for the gateway. */
export function letSpeak(lab: string, hosts: readonly Speaker[], families: readonly Family[]): void {
  send(lab, hosts, ({ mac, address, address6 }) => [
    ...(address && families.includes(4) ? [arpRequest(mac, address, GATEWAY_ADDRESS)] : []),
    ...(address6 && families.includes(6) ? [neighbourSolicitation(mac, address6, GATEWAY_ADDRESS6)] : []),
  ]);
}

/** Each tells all who hear it that it is here: gratuitous ARP, unsolicited neighbour advertisement. */
export function letAnnounce(lab: string, hosts: readonly Speaker[], families: readonly Family[]): void {
  send(lab, hosts, (host) => announcements(host, families));
}

export const announcements = (
  { mac, address, address6 }: Pick<LabHost, 'mac' | 'address' | 'address6'>,
  families: readonly Family[],
): Buffer[] => [
  ...(address && families.includes(4) ? [gratuitousArp(mac, address)] : []),
  ...(address6 && families.includes(6) ? [unsolicitedAdvertisement(mac, address6)] : []),
];

function send(lab: string, hosts: readonly Speaker[], frames: (host: Speaker) => readonly Buffer[]): void {
  for (const [, group] of Map.groupBy(hosts, ({ node, device }) => `${node} ${device}`)) {
    const netns = namespaceOf(lab, group[0]!.node);
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    try {
      const ifindex = withNetns(netns, () => interfaceIndex(group[0]!.device));
      for (const data of group.flatMap(frames)) {
        socket.send({ data, to: { family: 'packet', ifindex, protocol: ETH_P.ALL } });
      }
    } finally {
      socket.close();
    }
  }
}
