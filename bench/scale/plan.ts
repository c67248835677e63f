/** Names and numbers of the scale benchmarks' bed. */
import { ipv4FromNumber } from '../../src/model/address.ts';

export const PREFIX = '10.32.0.0/16';
/** The number of 10.32.0.0; hosts begin a little later, clear of the network's own address. */
export const HOST_NETWORK = 0x0a200000;
export const FIRST_HOST = 256;

export const hostAddress = (host: number): string => ipv4FromNumber(HOST_NETWORK + FIRST_HOST + host);

export const downlink = (port: number): string => `swp${port + 1}`;
export const serverPort = (port: number): string => `s${port + 1}`;

/** No two devices share an ifindex, or the kernel would tell of carrier changes late (see lab/topology/plan.ts). */
export const downlinkIndex = (port: number): number => 2001 + 2 * port;
export const serverIndex = (port: number): number => 2002 + 2 * port;
export const UPLINKS = [
  { name: 'U1', ifindex: 1101, peer: 'GA', peerIndex: 1102, tor: 'A' },
  { name: 'U2', ifindex: 1103, peer: 'GB', peerIndex: 1104, tor: 'B' },
] as const;
