/**
 * What containers lost beside what their hosts lost, in the same seconds on the same way: two streams between each two
 * hosts, one packet a millisecond in either direction, one from host to host and one from container to container. Pure.
 */
import type { ProbeResult } from '../probe/prober.ts';

export interface PairLoss {
  /** `C1-C4`. */
  readonly pair: string;
  readonly direction: 'there' | 'back';
  readonly sent: number;
  readonly underlay: number;
  readonly containers: number;
  /** So many of the containers' may be missing with nothing wrong but what the hosts lost: see `allowedBeside`. */
  readonly allowed: number;
  /** Of the containers' stream: the longest time without a packet, ms. */
  readonly outage: number;
  readonly underlayOutage: number;
}

/** Packets: a hole has two edges, and a tunnelled packet is under way a little longer. */
const EDGE = 2;

const isOfHosts = ({ server }: ProbeResult): boolean => server !== server.toLowerCase();

/**
 * Both streams are sampled once a millisecond, on a busy machine less evenly: what fell due meanwhile leaves together, first
 * one stream's and then the other's. So they can differ by what falls due in the longest pause.
 */
function allowedBeside(hosts: ProbeResult, inside: ProbeResult): number {
  const uneven = Math.max(0, Math.ceil(Math.max(hosts.pause, inside.pause) - 1));
  return hosts.lost + EDGE * Math.max(1, hosts.holes) + uneven;
}

export function compareStreams(results: readonly ProbeResult[]): PairLoss[] {
  return results.filter(isOfHosts).map((hosts) => {
    const name = hosts.server.toLowerCase();
    const inside = results.find(({ server, direction }) => server === name && direction === hosts.direction);
    if (!inside) throw new Error(`nothing was sent between the containers ${name}`);
    return {
      pair: hosts.server,
      direction: hosts.direction === 'to-server' ? 'there' : 'back',
      sent: inside.sent,
      underlay: hosts.lost,
      containers: inside.lost,
      allowed: allowedBeside(hosts, inside),
      outage: inside.outage,
      underlayOutage: hosts.outage,
    };
  });
}

/** The streams of containers that lost more than their hosts. */
export const excesses = (pairs: readonly PairLoss[]): PairLoss[] =>
  pairs.filter(({ containers, allowed }) => containers > allowed);
