import type { Speaker as BgpSpeaker } from '../bgp/index.ts';
import type { Speaker as OspfSpeaker } from '../ospf/index.ts';

export type Protocol = 'ospf' | 'bgp';

/** Those that are configured. */
export interface Speakers {
  readonly ospf: OspfSpeaker | undefined;
  readonly bgp: BgpSpeaker | undefined;
}

export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
}
