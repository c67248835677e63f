import type { BgpOptions } from '../../bgp/index.ts';
import type { MapStore } from '../../gateway/index.ts';
import type { Kernel, RouteWatch } from '../../netlink/index.ts';
import type { OspfOptions } from '../../ospf/index.ts';
import type { MemoryStore } from '../memory-store.ts';

export interface GatewayKernel
  extends Pick<
    Kernel,
    'port' | 'portByIndex' | 'ports' | 'onChange' | 'watchCarriers' | 'backedRoutes' | 'counters' | 'close'
  > {
  watchRoutes(): Promise<Pick<RouteWatch, 'onRoute' | 'routes'>>;
}

/** What a rehearsal has instead of the machine's own; with it nothing is kept but where it says. */
export interface GatewaySurroundings {
  readonly transport: NonNullable<BgpOptions['transport']>;
  readonly openOspfSocket: NonNullable<OspfOptions['openSocket']>;
  /** ms since 1970. */
  readonly wallClock: () => number;
  readonly mapStore: MapStore;
  readonly memory: MemoryStore;
}
