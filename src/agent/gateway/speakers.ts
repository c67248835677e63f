import { type Speaker as BgpFace, BgpSpeaker, type SessionChange } from '../../bgp/index.ts';
import type { GatewayConfig } from '../../config/index.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { LinkState, PortChange } from '../../model/ports.ts';
import { type NeighborChange, type Speaker as OspfFace, OspfSpeaker } from '../../ospf/index.ts';

export interface SpeakersOptions {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  onSession(change: SessionChange): void;
  onNeighbor(change: NeighborChange): void;
}

/** The protocols by which the gateway hears its switches. An observer announces nothing and installs nothing. */
export class Speakers {
  readonly ospf: OspfFace | undefined;
  readonly bgp: BgpFace | undefined;

  constructor({ config, clock, log, links, onSession, onNeighbor }: SpeakersOptions) {
    const { routerId } = config;
    const common = { clock, log, links, routerId, prefixes: [], onForeignClaim: () => {}, onRoutes: () => {} };
    if (config.ospf) this.ospf = new OspfSpeaker({ ...config.ospf, ...common, onNeighbor });
    if (config.bgp) this.bgp = new BgpSpeaker({ ...config.bgp, ...common, onSession });
  }

  start(): void {
    this.ospf?.settled();
    this.ospf?.start();
    this.bgp?.start();
  }

  linkChanged(change: PortChange): void {
    this.ospf?.linkChanged(change.after, change.name);
    this.bgp?.linkChanged(change);
  }

  async stop(): Promise<void> {
    await Promise.all([this.ospf?.stop(), this.bgp?.stop()]);
  }

  async pause(): Promise<void> {
    await this.ospf?.pause();
  }

  counters(): Record<string, Record<string, number>> {
    return {
      ...(this.ospf ? { ospf: this.ospf.counters() } : {}),
      ...(this.bgp ? { bgp: this.bgp.counters() } : {}),
    };
  }
}
