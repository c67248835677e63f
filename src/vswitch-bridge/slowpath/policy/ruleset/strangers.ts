/**
 * The kernel's VXLAN port takes packets from anybody, at every address of the host, and puts what is inside into the
 * network that they name. So what comes there for a network of ours is asked who sent it: another host that the overlay
 * knows, by the underlay; no instance of this host. In which of the networks a host may send is not asked, since a router
 * sends in the network of the destination. Which hosts speak in networks of others' making is theirs to guard; that no
 * instance behind them speaks there as a host is seen to here, and in leaving.ts.
 */
import { familyOf } from '../../../../model/address.ts';
import type { OverlayState } from '../../../../model/overlay.ts';
import { VXLAN_PORT } from '../../network/names.ts';
import type { TableBuilder } from './document.ts';
import { addressLiteral, interfaceLiteral, ipWord } from './literals.ts';
import { COUNTERS, OTHERS_BRIDGES, PRIORITY } from './names.ts';

/** RFC 7348 §5: the VNI stands at octet 4 behind the UDP header. */
const VNI = '@th,96,24';
const OTHERS_NETWORKS = 'networks_of_others';
const vniLiteral = (vni: number): string => `0x${vni.toString(16)}`;

export function addStrangers(
  table: TableBuilder,
  { underlay, networks, remotes }: OverlayState,
  espPort: number | undefined,
): void {
  const family = familyOf(underlay.address);
  const others = [...networks.values()].filter(({ origin }) => origin === 'kernel');
  const ports = [...new Set(others.map(({ port }) => port ?? VXLAN_PORT))].join(', ');
  for (const { vni, encapsulation, devices } of others) {
    // By the bridge that the underlay stands on come the other hosts' own tunnels.
    if (devices && devices.bridge !== underlay.device)
      table.set('set', OTHERS_BRIDGES, 'type ifname;').set(interfaceLiteral(devices.bridge), '');
    if (encapsulation === 'vxlan') table.set('set', OTHERS_NETWORKS, `typeof ${VNI};`).set(vniLiteral(vni), '');
  }
  const vnis = table.set('set', 'vxlan_networks', `typeof ${VNI};`);
  for (const { vni, encapsulation, origin } of networks.values()) {
    if (encapsulation === 'vxlan' && origin !== 'kernel') vnis.set(vniLiteral(vni), '');
  }
  const hosts = table.set('set', 'other_hosts', `type ipv${family}_addr;`);
  for (const { host } of remotes.values()) if (familyOf(host) === family) hosts.set(addressLiteral(host), '');
  const ours = `meta nfproto ipv${family} udp dport ${VXLAN_PORT} ${VNI} @vxlan_networks`;
  const stop = `${table.counter(COUNTERS.stranger)} drop`;
  table.chain(
    'strangers',
    [
      `${ours} iifname @bridges ${stop}`,
      `${ours} ${ipWord(family)} saddr != @other_hosts ${stop}`,
      ...(table.sets.has(OTHERS_BRIDGES) && table.sets.has(OTHERS_NETWORKS)
        ? [`udp dport { ${ports} } ${VNI} @${OTHERS_NETWORKS} iifname @${OTHERS_BRIDGES} ${stop}`]
        : []),
      // Who sends there is known by the source address, and not all that comes there is authenticated.
      ...(espPort === undefined ? [] : [`udp dport ${espPort} iifname @bridges ${stop}`]),
    ],
    `type filter hook input priority ${PRIORITY.forward}; policy accept;`,
  );
}
