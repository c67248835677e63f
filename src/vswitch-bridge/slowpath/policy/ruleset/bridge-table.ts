/**
 * What only the bridge family can see: the port. Each packet gets the class of the port that it came by into its mark,
 * unless the fast path has put it there; and the neighbours that every host answers for (gateway, services) are asked for
 * and answered on this host alone, never through a tunnel.
 */
import { type Address, addressBytes, familyOf } from '../../../../model/address.ts';
import type { OverlayState } from '../../../../model/overlay.ts';
import { TableBuilder } from './document.ts';
import { addressLiteral, interfaceLiteral, isUsableInterface } from './literals.ts';
import { CLASS, COUNTERS, devicesOf, hex, MARK_OURS, MARK_OURS_MASK } from './names.ts';

export function bridgeTable(state: OverlayState): TableBuilder {
  const table = new TableBuilder('bridge');
  const ports = table.set('map', 'class_of', 'type ifname : mark;');
  const reflected = table.set('set', 'instance_ports', 'type ifname . ifname;');
  const anycast = table.set('set', 'anycast4', 'type ifname . ipv4_addr;');
  const solicited: string[] = [];
  for (const network of state.networks.values()) {
    const tunnels = devicesOf(state, network).tunnels.map(interfaceLiteral);
    for (const tunnel of tunnels) ports.set(tunnel, ` : ${hex(CLASS.tunnel)}`);
    const addresses = new Set<Address>(network.gateway === undefined ? [] : [network.gateway]);
    for (const service of state.services.values()) if (service.network === network.name) addresses.add(service.address);
    for (const address of addresses) {
      for (const tunnel of tunnels) {
        if (familyOf(address) === 4) anycast.set(`${tunnel} . ${addressLiteral(address)}`, '');
        else solicited.push(`${tunnel} ${targetTest(address)}`);
      }
    }
  }
  for (const { interface: name } of state.instances.values()) {
    if (!isUsableInterface(name)) continue;
    const port = interfaceLiteral(name);
    if (!ports.has(port)) ports.set(port, ` : ${hex(CLASS.instance)}`);
    reflected.set(`${port} . ${port}`, '');
  }
  const stop = `${table.counter(COUNTERS.neighbours)} drop`;
  const at = (side: 'iifname' | 'oifname'): string[] => [
    `${side} . arp daddr ip @anycast4 ${stop}`,
    `${side} . arp saddr ip @anycast4 ${stop}`,
    ...solicited.map((test) => `${side} ${test} ${stop}`),
  ];
  table.chain(
    'came',
    [...at('iifname'), `meta mark & ${hex(MARK_OURS_MASK)} != ${hex(MARK_OURS)} meta mark set iifname map @class_of`],
    'type filter hook prerouting priority -300; policy accept;',
  );
  table.chain('goes', at('oifname'), 'type filter hook postrouting priority 0; policy accept;');
  // Ports of instances send back to themselves what is theirs (a client that is its own backend); never what is for all.
  table.chain(
    'forward',
    [
      `meta pkttype { broadcast, multicast } iifname . oifname @instance_ports ${table.counter(COUNTERS.reflected)} drop`,
    ],
    'type filter hook forward priority 0; policy accept;',
  );
  return table;
}

/** RFC 4861 §4.3, §4.4: the target stands at octet 8 of a solicitation and of an advertisement. */
const targetTest = (address: Address): string =>
  `icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } @th,64,128 0x${Buffer.from(addressBytes(address)).toString('hex')}`;

/** Interfaces whose names can't be written in a ruleset: their class is not known, so they count as instances. */
export const unusableInterfaces = (state: OverlayState): readonly string[] =>
  [...state.instances.values()].map(({ interface: name }) => name).filter((name) => !isUsableInterface(name));
