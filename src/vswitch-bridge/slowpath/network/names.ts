/** Names, numbers and addresses of the layout that every host derives alike. */
import {
  type Address,
  addressBytes,
  type Family,
  familyOf,
  formatAddress,
  formatMac,
  type Mac,
} from '../../../model/address.ts';

/** Our routes, rules and neighbours say this of themselves (RTPROT_*); 201 to 205 are the switch role's. */
export const LAYOUT_PROTOCOL = 206;

export const VXLAN_PORT = 4789;
export const GENEVE_PORT = 6081;
/**
 * Of bridges and tunnel ports: they take packets of every size. What a tunnel then can't carry in one piece it answers
 * with "fragmentation needed" (DF) or sends in pieces; a smaller tunnel port would drop it without a word. And a bridge
 * that is smaller than its ports drops the fragments that conntrack has put together (br_nf_ip_fragment). What is routed
 * keeps to the MTU of its route.
 */
export const LAYOUT_MTU = 65_450;

/** Of the networks whose subnets overlap no other's. */
export const SHARED_TABLE = 20_200;
const OWN_TABLES = 2_000_000_000;

/** Of a network that overlaps another. */
export const ownTable = (vni: number): number => OWN_TABLES + vni;

export const isOurTable = (table: number): boolean => table === SHARED_TABLE || table >= OWN_TABLES;

export const PRIORITY = {
  mark: 20_200,
  input: 20_201,
  output: 20_202,
  source: 20_203,
  noSource: 20_204,
  shared: 20_210,
} as const;

/**
 * The mark of a packet that is to be routed as one of network `vni`, whatever it came by: class 15 of the shared layout
 * of marks. Set by nftables on packets from the NIC whose connection is of a network that overlaps another, and on what
 * is for the host itself, so that the answer (`fwmark_reflect`) finds back.
 */
export const networkMark = (vni: number): number => (0x7f00_0000 | vni) >>> 0;

export const bridgeName = (vni: number): string => `plbr${vni}`;

/** One for all remotes, or (kinds that know one other end each) one for each. */
export const tunnelName = (vni: number, remote?: Address): string =>
  remote === undefined ? `pltn${vni}` : `pltn${vni.toString(36)}.${shortHash(remote)}`;

export const isOurBridge = (name: string): boolean => /^plbr\d{1,8}$/.test(name);
export const isOurTunnel = (name: string): boolean => /^pltn(\d{1,8}|[0-9a-z]{1,5}\.[0-9a-z]{1,5})$/.test(name);

/** What a host's bridges have as MAC, so that another may send to it without asking: the end of its underlay address. */
export function routerMac(underlay: Address): Mac {
  const bytes = addressBytes(underlay);
  return formatMac(Uint8Array.of(0x0e, 0x50, ...bytes.subarray(bytes.length - 4)));
}

/** The next hop of routes to what lies behind a host: resolved by a permanent neighbour, never asked for. */
export function nextHopOf(host: Address, family: Family): Address {
  if (family === 4 && familyOf(host) === 4) return host;
  const bytes = new Uint8Array(16);
  bytes.set([0xfe, 0x80]);
  bytes.set([0x0e, 0x50], 10);
  const end = addressBytes(host);
  bytes.set(end.subarray(end.length - 4), 12);
  return formatAddress(bytes);
}

/** FNV-1a, as five digits of base 36. */
function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return (hash % 36 ** 5).toString(36);
}
