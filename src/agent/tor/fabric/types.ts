import type { Speaker as BgpSpeaker, SessionView } from '../../../bgp/index.ts';
import type { Announcer } from '../../../model/hosts.ts';
import type { Speaker as OspfSpeaker } from '../../../ospf/index.ts';

export type Protocol = 'ospf' | 'bgp';

/** Those that are configured. */
export interface Speakers {
  readonly ospf: OspfSpeaker | undefined;
  readonly bgp: BgpSpeaker | undefined;
}

/** BGP sessions that can be ways to the fabric: not those with who only listens. */
export const waysOf = (bgp: BgpSpeaker | undefined): SessionView[] =>
  bgp?.sessions().filter(({ observer }) => !observer) ?? [];

export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
}

/** Another daemon that faces the gateway beside our own speakers, or instead of them (`kernel.handoffTable`). */
export interface Outside {
  readonly announcer: Announcer;
  readiness(): Readiness;
  defaultRoute(port: string): boolean;
}
