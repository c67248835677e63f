import { isDeepStrictEqual } from 'node:util';
import type { Family } from '../model/address.ts';
import type { Negotiated } from './machine/open.ts';
import type { SocketSecurity } from './transport.ts';
import type { BgpNeighborOptions, SessionView } from './types.ts';

/** What a neighbour's options mean, and what was agreed on with it. */

/** TCP_MD5SIG_MAXKEYLEN. */
const LONGEST_KEY = 80;
/** What a session is made of; the rest of a neighbour's options is looked at when it matters. */
const AGREED = [
  ...(['remoteAs', 'localAddress', 'port', 'passive', 'password', 'ttlSecurity', 'multihop', 'portFacts'] as const),
  ...(['keepalive', 'hold', 'connectRetry'] as const),
];

/** @throws RangeError for what no session could be made of */
export function checkNeighbor({ hold, password }: BgpNeighborOptions): void {
  if (hold !== 0 && hold < 3000) throw new RangeError('hold is 0 or at least 3,000 ms (RFC 4271 §4.2)');
  if (password && Buffer.byteLength(password) > LONGEST_KEY) {
    throw new RangeError(`a key has at most ${LONGEST_KEY} octets`);
  }
}

/** Whether a session made with the one is good for the other. */
export const sameSession = (one: BgpNeighborOptions, other: BgpNeighborOptions): boolean =>
  AGREED.every((key) => isDeepStrictEqual(one[key], other[key]));

/** RFC 5082 §3, and RFC 4271's usual reading for direct external neighbours: TTL 1. */
export function securityOf(options: BgpNeighborOptions, external: boolean): SocketSecurity {
  const { password, ttlSecurity, multihop } = options;
  return {
    password: typeof password === 'string' ? Buffer.from(password, 'utf8') : password,
    ttl: ttlSecurity ? 255 : external && !multihop ? 1 : undefined,
    minTtl: ttlSecurity ? 255 : undefined,
  };
}

type Agreed =
  | 'portFacts'
  | 'remoteId'
  | 'hold'
  | 'keepalive'
  | 'families'
  | 'fourOctetAs'
  | 'routeRefresh'
  | 'gracefulRestart';

export function agreedView(negotiated: Negotiated | undefined): Pick<SessionView, Agreed> {
  const restart = negotiated?.restart;
  return {
    remoteId: negotiated?.remoteId,
    hold: negotiated?.hold,
    keepalive: negotiated?.keepalive,
    families: namesOf(negotiated?.families ?? []),
    fourOctetAs: negotiated?.fourOctetAs ?? false,
    routeRefresh: negotiated?.routeRefresh ?? false,
    portFacts: negotiated?.portFacts ?? false,
    gracefulRestart: restart && { restartTime: restart.restartTime, families: namesOf(restart.families.keys()) },
  };
}

const namesOf = (families: Iterable<Family>) => [...families].map((family) => (family === 4 ? 'ipv4' : 'ipv6'));
