/** What a seed is about: the shape of the two switches and of G, and the configuration that the agents start with. */
import type { Random } from './random.ts';
import type { Side } from './server.ts';

export const SLOTS = [1, 2, 3, 4] as const;
/** Numbers of the uplinks: `A0` and, where there are two, `A9`. */
export const UPLINKS = [0, 9] as const;

export const HOSTS_4 = '10.10.10.0/24';
export const HOSTS_6 = '2001:db8:10::/64';

export interface Scene {
  readonly protocol: 'bgp' | 'ospf' | 'both';
  readonly uplinks: readonly number[];
  /** The server ports are members of a bridge, and hosts are routed on it. */
  readonly bridged: boolean;
  /** Hosts have IPv6 addresses too; BGP carries them. */
  readonly six: boolean;
  /** Ports are shut through SONiC's databases. */
  readonly sonic: boolean;
  /** G keeps the routes of a switch whose BGP session broke in silence. */
  readonly helps: boolean;
  /** G tells a switch its own routes, as a router does with peers that share an update group. */
  readonly echoes: boolean;
  readonly asnOfB: number;
  /** Each switch stands by for the hosts of the other. No seed draws it. */
  readonly shadow?: boolean;
  /** With `shadow`: they have a repair tunnel to each other, too. */
  readonly repair?: boolean;
  readonly ospf: {
    readonly as: 'external' | 'nssa' | 'stub-link';
    readonly metricType: 1 | 2;
    readonly network: 'point-to-point' | 'broadcast';
    readonly area: string;
    /** Seconds. */
    readonly dead: number;
  };
}

export interface GroupSettings {
  readonly name: string;
  readonly uplinks: readonly number[];
  readonly downlinks: readonly number[];
  readonly minUplinks: number;
  readonly shut: 'all' | number | `${number}%`;
  readonly priority: readonly number[];
  readonly direction: 'uplink' | 'downlink' | 'both';
  readonly shutUplinks: boolean;
  /** ms */
  readonly deferDelay: number;
  readonly dryRun: boolean;
}

export interface Settings {
  recoveryDelay: number;
  startupDelay: number;
  probe: { interval: number; retries: number; timeout: number };
  returning: 'learned' | 'always' | 'never';
  wait: number;
  bounceFrom?: number;
  upWhen: string[];
  prefix: string;
  enabled: boolean;
  ports: readonly number[];
  hold: number;
  communities: readonly string[];
  restartTime: number | undefined;
  groups: readonly GroupSettings[];
}

export function drawScene(random: Random): Scene {
  const protocol = random.pick(['bgp', 'bgp', 'ospf', 'ospf', 'both'] as const);
  const as = random.pick(['external', 'external', 'stub-link', 'nssa'] as const);
  return {
    protocol,
    uplinks: random.chance(0.45) ? UPLINKS : [0],
    bridged: random.chance(0.3),
    six: random.chance(0.4) && protocol !== 'ospf',
    sonic: random.chance(0.15),
    helps: random.chance(0.5),
    echoes: random.chance(0.3),
    asnOfB: random.pick([65001, 65002]),
    ospf: {
      as,
      metricType: random.pick([1, 2] as const),
      network: random.pick(['point-to-point', 'point-to-point', 'broadcast'] as const),
      area: as === 'nssa' ? '0.0.0.1' : '0.0.0.0',
      dead: random.pick([3, 4]),
    },
  };
}

export function drawSettings(random: Random, scene: Scene): Settings {
  return {
    recoveryDelay: random.pick([0, 500, 1_000, 3_000]),
    startupDelay: random.pick([0, 500, 2_000]),
    probe: { interval: random.pick([1_000, 2_000, 5_000]), retries: random.integer(1, 3), timeout: 200 },
    returning: random.pick(['learned', 'always', 'never'] as const),
    wait: random.pick([300, 1_000]),
    upWhen: random.pick([
      ['carrier'],
      ['carrier'],
      ['carrier', 'adjacency'],
      ['carrier', 'default-route'],
      ['carrier', 'nexthop'],
    ]),
    prefix: HOSTS_4,
    enabled: true,
    ports: SLOTS,
    hold: 3,
    communities: [],
    restartTime: random.pick([undefined, 2, 5]),
    groups: drawGroups(random, scene),
    ...(random.chance(0.4) ? { bounceFrom: random.integer(1, 3) } : {}),
  };
}

const PLAIN: GroupSettings = {
  name: 'fabric',
  uplinks: [0],
  downlinks: SLOTS,
  minUplinks: 1,
  shut: 'all',
  priority: [],
  direction: 'uplink',
  shutUplinks: false,
  deferDelay: 0,
  dryRun: false,
};

function drawGroups(random: Random, { uplinks }: Scene): GroupSettings[] {
  const common = {
    deferDelay: random.pick([0, 0, 0, 300, 1_000]),
    direction: random.pick(['uplink', 'uplink', 'uplink', 'both'] as const),
  };
  const shutUplinks = common.direction === 'both' && random.chance(0.5);
  if (uplinks.length === 1) return [{ ...PLAIN, ...common, shutUplinks }];
  const minUplinks = random.pick([1, 2]);
  if (random.chance(0.5)) {
    const shut = random.pick(['all', 1, 2, '50%'] as const);
    const priority = random.pick([[], [3, 1], [4]]);
    return [{ ...PLAIN, ...common, shutUplinks, uplinks, minUplinks, shut, priority }];
  }
  const shared = random.chance(0.7);
  return [
    { ...PLAIN, ...common, name: 'left', uplinks: shared ? [0, 9] : [0], downlinks: [1, 2] },
    {
      ...PLAIN,
      ...common,
      name: 'right',
      uplinks: [9, 0],
      downlinks: [3, 4],
      minUplinks,
      shut: random.pick(['all', 1]),
    },
  ];
}

/** How many uplinks are left, as groups see it. */
export type Level = 'enough' | 'few' | 'none';
export const levelOf = ({ minUplinks }: GroupSettings, up: number): Level =>
  up >= minUplinks ? 'enough' : up > 0 ? 'few' : 'none';

/** What docs/port-link.md says of who is shut. */
export function shutOn({ downlinks, shut, priority }: GroupSettings, level: Level): ReadonlySet<number> {
  if (level === 'enough') return new Set();
  if (level === 'none' || shut === 'all') return new Set(downlinks);
  const count =
    typeof shut === 'number' ? shut : Math.max(1, Math.ceil((downlinks.length * Number.parseInt(shut, 10)) / 100));
  const first = priority.filter((slot) => downlinks.includes(slot));
  return new Set([...first, ...downlinks.filter((slot) => !first.includes(slot))].slice(0, count));
}

/** Addresses of one link between a switch and G. */
export interface Link {
  readonly slot: number;
  readonly side: Side;
  readonly name: string;
  /** The switch's end and G's. */
  readonly local: string;
  readonly peer: string;
  readonly local6: string;
  readonly peer6: string;
}

export function linksOf({ uplinks }: Scene): Link[] {
  return (['A', 'B'] as const).flatMap((side, at) =>
    uplinks.map((slot, nth) => {
      const base = 8 * nth + 4 * at;
      return {
        slot,
        side,
        name: `${side}${slot}`,
        peer: `192.0.2.${base + 1}`,
        local: `192.0.2.${base + 2}`,
        peer6: `2001:db8:ff:${base}::1`,
        local6: `2001:db8:ff:${base}::2`,
      };
    }),
  );
}

export const ROUTER_ID: Record<Side | 'G', string> = { A: '10.255.0.1', B: '10.255.0.2', G: '10.255.0.254' };

/** What stands in the switch's file. */
export function configText(side: Side, scene: Scene, settings: Settings): string {
  const port = (slot: number): string => `${side}${slot}`;
  const links = linksOf(scene).filter((link) => link.side === side);
  const { protocol, six, ospf, asnOfB, shadow, repair = false } = scene;
  return JSON.stringify({
    role: 'tor',
    routerId: ROUTER_ID[side],
    hostRoutes: {
      prefixes: [settings.prefix, ...(six ? [HOSTS_6] : [])],
      ports: settings.ports.map(port),
      probe: {
        interval: `${settings.probe.interval}ms`,
        retries: settings.probe.retries,
        timeout: `${settings.probe.timeout}ms`,
      },
      returning: {
        mode: settings.returning,
        wait: `${settings.wait}ms`,
        bounceFrom: settings.bounceFrom ?? 'never',
      },
    },
    portLink: settings.groups.map((group) => ({
      ...group,
      enabled: settings.enabled,
      uplinks: group.uplinks.map(port),
      downlinks: group.downlinks.map(port),
      priority: group.priority.filter((slot) => group.downlinks.includes(slot)).map(port),
      upWhen: settings.upWhen,
      deferDelay: `${group.deferDelay}ms`,
      recoveryDelay: `${settings.recoveryDelay}ms`,
      startupDelay: `${settings.startupDelay}ms`,
    })),
    ...(protocol === 'bgp'
      ? {}
      : {
          ospf: {
            interfaces: links.map(({ name }) => ({
              name,
              area: ospf.area,
              network: ospf.network,
              hello: '1s',
              dead: `${ospf.dead}s`,
            })),
            announce: { as: ospf.as, metric: 20, metricType: ospf.metricType },
          },
        }),
    ...(protocol === 'ospf'
      ? {}
      : {
          bgp: {
            asn: side === 'A' ? 65001 : asnOfB,
            gracefulRestart:
              settings.restartTime === undefined ? { enabled: false } : { restartTime: `${settings.restartTime}s` },
            announce: { communities: settings.communities },
            neighbors: links.map(({ peer }) => ({
              address: peer,
              remoteAs: 65000,
              timers: { keepalive: '1s', hold: `${settings.hold}s` },
            })),
          },
        }),
    ...(shadow ? { shadow: { enabled: true, twin: ROUTER_ID[side === 'A' ? 'B' : 'A'], repair } } : {}),
    control: { metrics: null },
  });
}
