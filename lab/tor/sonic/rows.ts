/** What `sonic-cfggen` loads into CONFIG_DB of a switch with these ports. Pure. */

/** Database numbers of sonic-swss-common (`schema.h`). */
export const DATABASE = { APPL: 0, CONFIG: 4, STATE: 6 } as const;

export type Rows = ReadonlyMap<string, Readonly<Record<string, string>>>;

export interface BoxDescription {
  readonly hostname: string;
  readonly mac: string;
  readonly asn: number;
  /** Front panel ports in the order of the panel. */
  readonly ports: readonly string[];
  /** Members by port channel. */
  readonly lags?: Readonly<Record<string, readonly string[]>>;
  /** Ports of the servers' VLAN and its gateway address; absent where the server ports are routed. */
  readonly vlan?: { readonly ports: readonly string[]; readonly gateway: string };
}

const LANES = 4;

export function configurationRows({ hostname, mac, asn, ports, lags = {}, vlan }: BoxDescription): Rows {
  const rows = new Map<string, Record<string, string>>();
  rows.set('DEVICE_METADATA|localhost', {
    hostname,
    hwsku: 'Force10-S6000',
    platform: 'x86_64-kvm_x86_64-r0',
    mac,
    type: 'ToRRouter',
    bgp_asn: String(asn),
  });
  for (const [index, name] of ports.entries()) {
    rows.set(`PORT|${name}`, {
      alias: `fortyGigE0/${index * LANES}`,
      index: String(index),
      lanes: [1, 2, 3, 4].map((lane) => index * LANES + lane).join(','),
      speed: '40000',
      mtu: '9100',
      admin_status: 'up',
    });
  }
  for (const [lag, members] of Object.entries(lags)) {
    rows.set(`PORTCHANNEL|${lag}`, { admin_status: 'up', mtu: '9100', min_links: '1', lacp_key: 'auto' });
    for (const member of members) rows.set(`PORTCHANNEL_MEMBER|${lag}|${member}`, { NULL: 'NULL' });
  }
  if (vlan) {
    rows.set('VLAN|Vlan1000', { vlanid: '1000' });
    for (const name of vlan.ports) rows.set(`VLAN_MEMBER|Vlan1000|${name}`, { tagging_mode: 'untagged' });
    rows.set('VLAN_INTERFACE|Vlan1000', { NULL: 'NULL' });
    rows.set(`VLAN_INTERFACE|Vlan1000|${vlan.gateway}`, { NULL: 'NULL' });
  }
  return rows;
}
