import { readFileSync, writeFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';
import { AF, type Rtnetlink, vxlanData } from 'rtnetlink-ts';

/**
 * Both ends of every repair tunnel of the box: a vxlan device that takes the ends from the route (`external`) and
 * carries IP without Ethernet (`gpe`). It goes with UDP over IPv4, whatever is inside.
 */

/** IANA: VXLAN-GPE. */
export const REPAIR_PORT = 4790;
/** By this we know our own. */
export const REPAIR_ALIAS = 'peerless repair';
/** As large as any server's: what is too large for the fabric is fragmented outside. */
const MTU = 9216;
/** Link-local (RFC 3927), for nobody to use. With no address at all the kernel drops what comes in where `rp_filter` of `all` is 2. */
const DUMMY_ADDRESS = '169.254.47.90';
const RT_SCOPE_LINK = 253;

type Requests = Pick<Rtnetlink, 'getLink' | 'addLink' | 'setLink' | 'addAddress' | 'deleteLink'>;

export interface RepairDevice {
  readonly name: string;
  readonly ifindex: number;
}

/**
 * Makes the device, or takes over the one of an earlier life with the routes over it.
 *
 * @throws Error when something else has the name; NetlinkError when the kernel refuses (no vxlan, the UDP port is taken)
 */
export async function openRepairDevice(
  rtnetlink: Requests,
  name: string,
  netns: string | undefined,
): Promise<RepairDevice> {
  const present = await rtnetlink.getLink({ name });
  if (present && !(present.kind === 'vxlan' && present.alias === REPAIR_ALIAS)) {
    throw new Error(`${name} is there already, and is not ours; name another one in shadow.device`);
  }
  if (!present) {
    const kindData = vxlanData({ external: true, gpe: true, port: REPAIR_PORT });
    await rtnetlink.addLink({ name, kind: 'vxlan', kindData, mtu: MTU });
    await rtnetlink.setLink({ name, alias: REPAIR_ALIAS });
  }
  const link = await rtnetlink.getLink({ name });
  if (!link) throw new Error(`${name} vanished while it was made`);
  const { ifindex } = link;
  try {
    const settle = (): void => speakForNobody(name);
    if (netns === undefined) settle();
    else withNetns(netns, settle);
    const scope = RT_SCOPE_LINK;
    const address = { family: AF.INET, ifindex, address: DUMMY_ADDRESS, prefixLength: 32, scope, flags: 0 };
    await rtnetlink.addAddress(address, 'replace');
    await rtnetlink.setLink({ ifindex, mtu: MTU, up: true });
  } catch (error) {
    if (!present) await rtnetlink.deleteLink({ ifindex });
    throw error;
  }
  return { name, ifindex };
}

export interface TunnelCounts {
  readonly arrived: number;
  readonly sent: number;
  readonly dropped: number;
}

/** Packets since the device was made; undefined where that can't be read. */
export function tunnelCounts(name: string, netns: string | undefined): TunnelCounts | undefined {
  try {
    const read = (): string => readFileSync('/proc/thread-self/net/dev', 'latin1');
    const text = netns === undefined ? read() : withNetns(netns, read);
    const line = text.split('\n').find((each) => each.trimStart().startsWith(`${name}:`));
    // receive: bytes packets errs drop fifo frame compressed multicast; transmit: bytes packets errs drop ...
    const figures = line
      ?.slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (!figures) return undefined;
    return { arrived: figures[1]!, sent: figures[9]!, dropped: figures[3]! + figures[11]! };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}

/** What comes out may come from anywhere and is forwarded; the device itself says nothing. */
function speakForNobody(name: string): void {
  const ipv4 = `/proc/sys/net/ipv4/conf/${name}`;
  writeFileSync(`${ipv4}/rp_filter`, '0');
  writeFileSync(`${ipv4}/forwarding`, '1');
  const ipv6 = `/proc/sys/net/ipv6/conf/${name}`;
  try {
    writeFileSync(`${ipv6}/addr_gen_mode`, '1');
    writeFileSync(`${ipv6}/accept_ra`, '0');
    writeFileSync(`${ipv6}/forwarding`, '1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
