/**
 * Which zone a packet is tracked in, set before the kernel tracks it.
 *
 * What stays inside the overlay (or is for this host) is tracked in the network's zone both ways. What goes to the public
 * side is so only on its way out; the replies, which come to an address of the host's, are looked for in zone 0, where
 * they can't be mistaken for the host's own connections, since the kernel picks the port of an SNAT among what is free
 * there. So two networks with the same addresses may share one public address.
 */
import { type Address, familyOf, hostPrefix, type Prefix } from '../../../../model/address.ts';
import type { OverlayState } from '../../../../model/overlay.ts';
import { networkMark } from '../../network/names.ts';
import type { TableBuilder } from './document.ts';
import { addressLiteral, disjointRanges, interfaceLiteral, ipWord } from './literals.ts';
import { CLASS, devicesOf, hex, MARK_OURS, MARK_OURS_MASK, openerMark, PRIORITY, tunnelPorts } from './names.ts';
import { SHARED_ZONE } from './zones.ts';

export function addTracking(table: TableBuilder, state: OverlayState, zones: ReadonlyMap<string, number>): void {
  const bridges = table.set('set', 'bridges', 'type ifname;');
  const zone = table.set('map', 'zone_of', 'typeof iifname : ct zone;');
  const routed = table.set('set', 'routed_tunnels', 'type ifname;');
  const back = table.set('map', 'routed_as', 'type mark : mark;');
  const own = table.set('map', 'own_table', 'type ifname : mark;');
  for (const network of state.networks.values()) {
    const devices = devicesOf(state, network);
    const zoneId = zones.get(network.name);
    for (const device of [devices.bridge, ...devices.routed]) {
      bridges.set(interfaceLiteral(device), '');
      zone.set(interfaceLiteral(device), ` : ${zoneId}`);
      if (zoneId !== SHARED_ZONE) own.set(interfaceLiteral(device), ` : ${hex(networkMark(network.vni))}`);
    }
    for (const device of devices.routed) routed.set(interfaceLiteral(device), '');
    if (zoneId !== SHARED_ZONE) {
      back.set(hex(openerMark('instance', network.vni)), ` : ${hex(networkMark(network.vni))}`);
    }
  }
  const inside: Prefix[] = [...state.networks.values()].map(({ subnet }) => subnet);
  for (const { address } of state.services.values()) inside.push(hostPrefix(addressLiteral(address) as Address));
  const lines: string[] = [];
  for (const family of [4, 6] as const) {
    const prefixes = inside.filter((prefix) => familyOf(prefix) === family).map((prefix) => ({ prefix, value: true }));
    if (prefixes.length === 0) continue;
    const set = table.set('set', `inside${family}`, `type ipv${family}_addr; flags interval;`);
    for (const { range } of disjointRanges(prefixes)) set.set(range, '');
    lines.push(`${ipWord(family)} daddr @inside${family} ct zone set iifname map @zone_of accept`);
  }
  table.chain(
    'zone_in',
    [
      'iifname != @bridges accept',
      // No bridge has seen these: they get their class here.
      `iifname @routed_tunnels meta mark & ${hex(MARK_OURS_MASK)} != ${hex(MARK_OURS)} meta mark set ${hex(CLASS.tunnel)}`,
      ...lines,
      'fib daddr type { local, broadcast, multicast } ct zone set iifname map @zone_of accept',
      'ct original zone set iifname map @zone_of',
    ],
    `type filter hook prerouting priority ${PRIORITY.zone}; policy accept;`,
  );
  // The tunnels' outer packets: a source port for each flow inside would be an entry for each, that nobody looks at.
  const outer = `${ipWord(familyOf(state.underlay.address))} %s ${addressLiteral(state.underlay.address)} udp dport { ${tunnelPorts(state)} } notrack`;
  table.chain(
    'outer_in',
    [outer.replace('%s', 'daddr')],
    `type filter hook prerouting priority ${PRIORITY.zone}; policy accept;`,
  );
  table.chain(
    'zone_out',
    ['ct zone set oifname map @zone_of', outer.replace('%s', 'saddr')],
    `type filter hook output priority ${PRIORITY.zone}; policy accept;`,
  );
  // Addresses of a network that overlaps another say nothing by themselves: what comes back from the public side, and
  // what the host is to answer, is routed by a mark in that network's own table.
  table.chain(
    'way_back',
    [
      'iifname != @bridges ct direction reply meta mark set ct mark map @routed_as',
      'fib daddr type local meta mark set iifname map @own_table',
    ],
    `type filter hook prerouting priority ${PRIORITY.dnat + 1}; policy accept;`,
  );
}
