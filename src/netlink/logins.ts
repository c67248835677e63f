/**
 * Who is logged in to this box, and by which port they come: established TCP sessions to its SSH port, and the route
 * back to each peer. A switch that shuts that port cuts off the hand that could open it again.
 */
import { readFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';
import type { Rtnetlink } from 'rtnetlink-ts';
import { type Address, formatAddress, parseAddress } from '../model/address.ts';
import type { LinkState, Port } from '../model/ports.ts';

export interface TcpSession {
  readonly local: Address;
  readonly peer: Address;
}

export interface Login extends TcpSession {
  /** The port that packets to the peer leave by. */
  readonly port: string;
}

export interface LoginsOptions {
  readonly rtnetlink: Pick<Rtnetlink, 'getRoute'>;
  readonly links: Pick<LinkState, 'port' | 'portByIndex' | 'ports'>;
  /** The member of a bridge behind which a neighbour on it is; undefined: not known. */
  memberTowards(bridge: Port, neighbour: Address): Port | undefined;
  /** Where a peer was last seen: a host of ours, whose route may not be there (yet). */
  placeOf(peer: Address): string | undefined;
  readonly netns?: string | undefined;
}

const SSH = 22;
const ESTABLISHED = 0x01;
/** More peers than these are not looked up: who has so many is not a switch. */
const MOST_PEERS = 256;

/** `also`: sessions that are known otherwise, such as that of $SSH_CONNECTION; those that end elsewhere are left out. */
export async function readLogins(options: LoginsOptions, also: readonly TcpSession[] = []): Promise<Login[]> {
  const own = new Set<Address>();
  for (const port of options.links.ports()) for (const { address } of port.addresses) own.add(address);
  // Who asks comes first: he must not be the one too many.
  const sessions = [...also.filter(({ local }) => own.has(local)), ...establishedTo(SSH, options.netns)];
  const byPeer = new Map(sessions.map((session) => [`${session.local} ${session.peer}`, session]));
  const logins: Login[] = [];
  for (const session of [...byPeer.values()].slice(0, MOST_PEERS)) {
    for (const port of await portsTowards(options, session)) logins.push({ ...session, port });
  }
  return logins;
}

/**
 * The interface of the route back; of a bridge, or a VLAN's interface on one, also the member behind which the peer or its
 * next hop is; of a bond itself and its members.
 */
async function portsTowards(options: LoginsOptions, { local, peer }: TcpSession): Promise<string[]> {
  // No route back: then it may be known where the peer was heard.
  const route = await options.rtnetlink.getRoute(peer, { source: local }).catch(() => undefined);
  const hop = route?.nextHops[0];
  const out = hop?.ifindex === undefined ? undefined : options.links.portByIndex(hop.ifindex);
  if (!out) {
    const place = options.placeOf(peer);
    return place === undefined ? [] : [place];
  }
  // The box speaks with itself.
  if (out.name === 'lo') return [];
  const members = [...options.links.ports()].filter(({ master }) => master === out.ifindex);
  if (members.length > 0 && out.kind !== 'bridge') return [out.name, ...members.map(({ name }) => name)];
  if (members.length === 0 && out.kind !== 'vlan') return [out.name];
  const neighbour = parseAddress(hop?.gateway ?? '') ?? peer;
  // Of a VLAN's interface on a bridge only the host table knows which member it is.
  const member = (members.length > 0 && options.memberTowards(out, neighbour)?.name) || options.placeOf(neighbour);
  return member === undefined || member === out.name ? [out.name] : [out.name, member];
}

function establishedTo(port: number, netns: string | undefined): TcpSession[] {
  // /proc/thread-self follows the thread into another namespace, /proc/self/net does too but for worker threads.
  const read = () =>
    ['tcp', 'tcp6'].flatMap((file) => {
      try {
        return parseSessions(readFileSync(`/proc/thread-self/net/${file}`, 'latin1'), port);
      } catch (error) {
        // No IPv6 in this kernel.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
  return netns === undefined ? read() : withNetns(netns, read);
}

/** Established sessions to a local port, of the text of /proc/net/tcp or tcp6 (proc(5)). */
export function parseSessions(text: string, port: number): TcpSession[] {
  const sessions: TcpSession[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [, local = '', remote = '', state = ''] = line.trim().split(/\s+/);
    const [address = '', localPort = ''] = local.split(':');
    if (Number.parseInt(state, 16) !== ESTABLISHED || Number.parseInt(localPort, 16) !== port) continue;
    const here = hexAddress(address);
    const there = hexAddress(remote.split(':')[0] ?? '');
    if (here && there) sessions.push({ local: here, peer: there });
  }
  return sessions;
}

/** Words of four octets in the byte order of the machine (little-endian where we run); IPv4 in IPv6 becomes IPv4. */
function hexAddress(text: string): Address | undefined {
  if (!/^([0-9A-F]{8}|[0-9A-F]{32})$/i.test(text)) return undefined;
  const bytes = Buffer.from(text, 'hex');
  bytes.swap32();
  const mapped = bytes.length === 16 && bytes.subarray(0, 12).equals(MAPPED);
  return formatAddress(mapped ? bytes.subarray(12) : bytes);
}

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** `PEER PORT LOCAL PORT`, as sshd(8) tells its sessions; undefined when it is no such thing. */
export function sshConnection(text: string | undefined): TcpSession | undefined {
  const [peer, , local] = (text ?? '').split(' ').map((word) => parseAddress(word.replace(/%.*$/, '')));
  return peer && local ? { peer, local } : undefined;
}
