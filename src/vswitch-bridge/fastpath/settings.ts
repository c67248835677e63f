import type { Address } from '../../model/address.ts';
import { config, FEATURE, KEY_FIELD, LAYOUT_VERSION, MODE } from './maps/layout.ts';
import type { Life } from './rewriting.ts';
import type { FastPathSettings } from './types.ts';

const MS = 1_000_000n;

/** ms. UDP and ICMP have no ending that could be seen: no longer than conntrack keeps them (its stream timeout, its ICMP's). */
const LONGEST_UDP = 120_000;
const LONGEST_ICMP = 30_000;

/** One packet a direction goes the slow way so often that conntrack, the bridge and the neighbour table stay alive. ms */
const SLOW_INTERVAL = 10_000;
/** In the midst of a burst it waits for a pause of so long, */
const SLOW_IDLE = 50;
/** but not for longer than this: a packet that overtakes others is better than a connection that conntrack has lost. */
const SLOW_FORCE = 20_000;
const ROUTE_INTERVAL = 1000;

const ns = (ms: number): bigint => BigInt(Math.round(ms)) * MS;

export interface Underlay {
  readonly address: Address;
  readonly ifindex: number;
  /** Where tunnel packets come and go. */
  readonly port: number;
}

/** The map `config`. Another life makes all keys void that we have told, and those that we were told. */
export function encodeSettings(
  settings: FastPathSettings,
  underlay: Underlay,
  connections: number,
  { epoch, born }: Life,
): Buffer {
  const { opening, established, closing } = settings.timeouts;
  const features =
    (settings.features.includes('source-port') || settings.features.includes('destination-port') ? FEATURE.ports : 0) |
    (settings.features.includes('ingress') ? FEATURE.ingress : 0);
  const states = (longest: number) => [
    0n,
    ns(Math.min(opening, longest)),
    ns(Math.min(established, longest)),
    // One side may go on long after the other's end; what is over is over.
    ns(Math.min(established, longest)),
    ns(closing),
  ];
  return config.encode({
    layout: LAYOUT_VERSION,
    mode: MODE[settings.mode],
    features,
    key_field: KEY_FIELD[settings.keyField],
    underlay_address: underlay.address,
    underlay_ifindex: underlay.ifindex,
    vxlan_port: underlay.port,
    connection_mask: connections - 1,
    timeout: [...states(Number.POSITIVE_INFINITY), ...states(LONGEST_UDP), ...states(LONGEST_ICMP)],
    lifetime_send: ns(settings.lifetime.send),
    lifetime_receive: ns(settings.lifetime.receive),
    slow_interval: ns(SLOW_INTERVAL),
    slow_idle: ns(SLOW_IDLE),
    slow_force: ns(SLOW_FORCE),
    route_interval: ns(ROUTE_INTERVAL),
    rewrite: [BigInt(epoch), born],
  });
}
