import type { Speaker as BgpSpeaker, SessionView } from '../../../bgp/index.ts';
import type { Announcer } from '../../../model/hosts.ts';
import type { Readiness } from '../../speakers.ts';

export type { Protocol, Readiness, Speakers } from '../../speakers.ts';

/** BGP sessions that can be ways to the fabric: not those with who only listens. */
export const waysOf = (bgp: BgpSpeaker | undefined): SessionView[] =>
  bgp?.sessions().filter(({ observer }) => !observer) ?? [];

/** Another daemon that faces the gateway beside our own speakers, or instead of them (`kernel.handoffTable`). */
export interface Outside {
  readonly announcer: Announcer;
  readiness(): Readiness;
  defaultRoute(port: string): boolean;
}
