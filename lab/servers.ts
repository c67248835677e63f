/** Makes the servers say who they are, as any server does sooner or later: an ARP request for the gateway. */
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { arpRequest } from './team/arp.ts';
import { GATEWAY_ADDRESS, namespaceOf, SERVERS } from './topology/plan.ts';

export function letServersSpeak(lab: string): void {
  for (const server of SERVERS) {
    const netns = namespaceOf(lab, server.name);
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    const ifindex = withNetns(netns, () => interfaceIndex('bond0'));
    try {
      socket.send({
        data: arpRequest(server.mac, server.address, GATEWAY_ADDRESS),
        to: { family: 'packet', ifindex, protocol: ETH_P.ARP },
      });
    } finally {
      socket.close();
    }
  }
}
