/** What leaves the overlay for the public side: its source by its destination (SNAT), and nothing without. */
import { familyOf } from '../../../../model/address.ts';
import type { OverlayState } from '../../../../model/overlay.ts';
import { networkMark } from '../../network/names.ts';
import type { TableBuilder } from './document.ts';
import { addressLiteral, disjointRanges, interfaceLiteral, ipWord } from './literals.ts';
import { CLASS, COUNTERS, devicesOf, hex, MARK_CLASS_MASK, OTHERS_BRIDGES, PRIORITY, tunnelPorts } from './names.ts';

export function addLeaving(table: TableBuilder, state: OverlayState, espPort: number | undefined): void {
  const lines: string[] = [];
  for (const family of [4, 6] as const) {
    const ip = ipWord(family);
    if (table.sets.has(`hairpin${family}`)) {
      lines.push(`ct status dnat snat ${ip} to ct zone . ${ip} saddr . ${ip} daddr map @hairpin${family}`);
    }
    if (table.sets.has(`probe_source${family}`)) {
      lines.push(
        `ct mark ${hex(CLASS.host)} oifname . ${ip} daddr != @probed_here${family} snat ${ip} to oifname map @probe_source${family}`,
      );
    }
    for (const each of state.networks.values()) {
      const { name } = each;
      const bridge = interfaceLiteral(devicesOf(state, each).bridge);
      const entries = state.snat.filter(({ network, to, address }) => {
        return network === name && familyOf(to) === family && familyOf(address) === family;
      });
      if (entries.length === 0) continue;
      const map = table.set(
        'map',
        `snat${family}`,
        `type ifname . ipv${family}_addr : ipv${family}_addr; flags interval;`,
      );
      for (const { range, value } of disjointRanges(
        entries.map(({ to, address }) => ({ prefix: to, value: address })),
      )) {
        map.set(`${bridge} . ${range}`, ` : ${addressLiteral(value)}`);
      }
    }
    if (table.sets.has(`snat${family}`)) {
      lines.push(`oifname != @bridges snat ${ip} to iifname . ${ip} daddr map @snat${family}`);
    }
  }
  table.chain('sources', lines, `type nat hook postrouting priority ${PRIORITY.snat}; policy accept;`);
  const portless = [...state.networks.values()].some(
    ({ encapsulation }) => encapsulation === 'ipip' || encapsulation === 'gre',
  );
  // Who laid out a network before us has seen to its sources too.
  const laidOut = table.set('set', 'need_source', 'type ifname;');
  for (const each of state.networks.values()) {
    if (each.origin !== 'kernel') laidOut.set(interfaceLiteral(devicesOf(state, each).bridge), '');
  }
  const toHosts = `${ipWord(familyOf(state.underlay.address))} daddr @other_hosts`;
  // Elsewhere these ports are the instances' own affair, and what of theirs leaves as this host is another's rule to say.
  const others: string[] = [];
  if (table.sets.has(OTHERS_BRIDGES)) {
    const asHost = `iifname @${OTHERS_BRIDGES} ${toHosts}`;
    others.push(`${asHost} udp dport { ${tunnelPorts(state)} } ${table.counter(COUNTERS.tunnelOfInstance)} drop`);
    if (portless) others.push(`${asHost} meta l4proto { 4, 47 } ${table.counter(COUNTERS.tunnelOfInstance)} drop`);
  }
  table.chain(
    'leave',
    [
      // It has found its table; to the fast path's programs the lower bits would be a connection.
      `meta mark & ${hex(MARK_CLASS_MASK)} == ${hex(networkMark(0))} meta mark set 0x0`,
      ...others,
      'iifname != @need_source accept',
      'oifname @bridges accept',
      // With this host's address as its source it would be this host's tunnel to every other: a way into any network there.
      `udp dport { ${tunnelPorts(state)} } ${table.counter(COUNTERS.tunnelOfInstance)} drop`,
      // Elsewhere it is the port of others' IPsec.
      ...(espPort === undefined
        ? []
        : [`${toHosts} udp dport ${espPort} ${table.counter(COUNTERS.tunnelOfInstance)} drop`]),
      ...(portless ? [`meta l4proto { 4, 47 } ${table.counter(COUNTERS.tunnelOfInstance)} drop`] : []),
      'ct status snat accept',
      // The answer to what the public side opened goes back as it was asked.
      'ct direction reply accept',
      `${table.counter(COUNTERS.withoutSource)} drop`,
    ],
    `type filter hook postrouting priority ${PRIORITY.leave}; policy accept;`,
  );
}
