import { z } from 'zod';
import { places, STATE_DIRECTORY } from './places.ts';
import {
  address,
  areaId,
  asNumber,
  community,
  duration,
  filePath,
  groupName,
  integer,
  mac,
  neighborAs,
  port,
  ports,
  prefix,
  rangeAs,
  redisAddress,
  routerId,
  shutAmount,
} from './scalars.ts';
import { anyOf, control, stateDirectory } from './schema-common.ts';
import { type HostSettings, hostSchema } from './schema-host.ts';

/**
 * The shape of the file, one zod object a section, defaults included. What zod gives back are the *settings*: the
 * file's own words (durations as text, port lists with ranges) with the defaults filled in. `resolve.ts` turns them
 * into what the domains take. The host role has a file of its own, `schema-host.ts`. Nothing secret is in the settings: secrets stand in files that the settings name.
 */

// ------------------------------------------------------------------ hosts

const hostRoutes = z.strictObject({
  prefixes: z.array(prefix()).min(1).meta({
    description: 'Hosts are learned and announced only inside these; the prefixes themselves are never announced.',
  }),
  ports: ports().meta({ description: 'Ports towards servers; a bridge port counts, its bridge is found by itself.' }),
  sources: z
    .strictObject({
      neighbours: z.boolean().default(true).meta({ description: "The kernel's neighbour table." }),
      arp: z.boolean().default(true).meta({ description: 'ARP and ND heard on the ports, gratuitous included.' }),
      static: z.array(z.strictObject({ address: address(), port: port(), mac: mac().optional() })).default([]),
      bgp: z
        .strictObject({
          listenRange: prefix(),
          remoteAs: rangeAs().default('external'),
          defaultOriginate: z.boolean().default(false).meta({ description: 'Tell them a default route through us.' }),
        })
        .optional()
        .meta({ description: 'Servers that announce themselves.' }),
      kernel: z.strictObject({ table: integer(1, 0xffffffff, 'a routing table') }).optional(),
    })
    .prefault({}),
  probe: z
    .strictObject({
      interval: duration().default('5s').meta({ description: '0s switches probing off.' }),
      retries: integer(1, 100).default(3),
      timeout: duration({ min: '10ms', max: '1m' }).default('200ms'),
    })
    .prefault({})
    .meta({ description: 'Unicast liveness of hosts that have gone silent.' }),
  limits: z
    .strictObject({ perPort: integer(1, 1_000_000).default(256), total: integer(1, 1_000_000).default(20_000) })
    .prefault({}),
  sweep: z
    .strictObject({
      enabled: z.boolean().default(false).meta({ description: 'At the start, and when a port comes up.' }),
      rate: integer(1, 10_000).default(200).meta({ description: 'Questions a second.' }),
    })
    .prefault({})
    .meta({ description: 'Silent servers are looked for: every IPv4 address of `prefixes` is asked for once.' }),
  returning: z
    .strictObject({
      mode: anyOf(['learned', 'always', 'never']).default('learned'),
      wait: duration({ min: '10ms', max: '1m' }).default('1s'),
      bounceFrom: z
        .union([integer(1, 1_000_000), z.literal('never')])
        .default(1_500)
        .meta({
          description:
            'A port whose carrier is back, and behind which at least so many hosts are expected, is shut again until the fabric has been told of them.',
        }),
    })
    .prefault({})
    .meta({
      description:
        'Hosts that come back to a port are announced before they do, and their packets wait; `learned`: only those that came back by themselves before.',
    }),
  activeActive: z
    .union([
      z.boolean(),
      z.strictObject({
        ports: ports({ allowEmpty: true }).default([]),
        prefixes: z.array(prefix()).default([]),
      }),
    ])
    .default(false)
    .meta({
      description:
        'A host alive behind both switches is announced by both: every host, or those behind these ports or inside these prefixes.',
    }),
  bindings: z
    .array(z.strictObject({ address: address(), ports: ports().optional(), macs: z.array(mac()).min(1).optional() }))
    .default([])
    .meta({ description: 'An address listed here is taken only on these ports and from these MACs.' }),
});

// ------------------------------------------------------------------ port-link groups

export const groupSchema = z.strictObject({
  name: groupName(),
  description: z.string().default(''),
  enabled: z.boolean().default(true),
  uplinks: ports(),
  downlinks: ports(),
  direction: anyOf(['uplink', 'downlink', 'both']).default('uplink'),
  minUplinks: integer(1, 4096).default(1).meta({ description: 'Fewer than this up: act.' }),
  upWhen: z
    .array(anyOf(['carrier', 'adjacency', 'nexthop', 'default-route', 'bfd']))
    .min(1)
    .default(['carrier'])
    .meta({ description: 'What "an uplink is up" means; all of the listed must hold.' }),
  nexthops: z
    .array(address())
    .max(8)
    .default([])
    .meta({ description: 'upWhen nexthop: whom to ask on the uplinks; found by itself when empty.' }),
  shut: shutAmount()
    .default('all')
    .meta({ description: 'How many downlinks are shut while at least one uplink is left; with none left all are.' }),
  priority: ports({ allowEmpty: true }).default([]).meta({ description: 'Who is shut first when partial.' }),
  deferDelay: duration().default('0s').meta({ description: 'Wait before acting.' }),
  recoveryDelay: duration().default('5s').meta({ description: 'Wait before the downlinks reopen.' }),
  autoRecover: z.boolean().default(true),
  startupDelay: duration()
    .default('10s')
    .meta({ description: 'After the start of the agent, before the group may act.' }),
  dryRun: z.boolean().default(false),
  shutUplinks: z
    .boolean()
    .default(false)
    .meta({ description: 'Direction downlink or both: shut the uplinks too once every downlink is lost.' }),
  onStop: anyOf(['leave', 'reopen'])
    .default('leave')
    .meta({ description: 'What becomes of ports that we shut when the agent is stopped.' }),
  allowManagementPort: z
    .boolean()
    .default(false)
    .meta({ description: 'The group may shut the port through which somebody is logged in to this switch.' }),
});

// ------------------------------------------------------------------ OSPF, BGP, BFD

const authentication = z.strictObject({
  type: anyOf(['simple', 'md5', 'hmac-sha-1', 'hmac-sha-256', 'hmac-sha-384', 'hmac-sha-512']),
  keyId: integer(0, 255).default(1),
  secretFile: filePath('the file that holds the secret', '/etc/peerless/ospf.key'),
});

const ospf = z.strictObject({
  interfaces: z
    .array(
      z.strictObject({
        name: port(),
        area: areaId().default('0.0.0.0'),
        network: anyOf(['point-to-point', 'broadcast']).default('point-to-point'),
        hello: duration({ min: '1s', max: '18h', wholeSeconds: true }).default('10s'),
        dead: duration({ min: '1s', max: '24h', wholeSeconds: true }).default('40s'),
        cost: integer(1, 65_535).default(10),
        priority: integer(0, 255).default(1),
        bfd: z.boolean().default(false),
        authentication: authentication.optional(),
      }),
    )
    .min(1),
  announce: z
    .strictObject({
      as: anyOf(['external', 'nssa', 'stub-link']).default('external'),
      metric: integer(0, 0xffffff - 1).default(20),
      metricType: z.union([z.literal(1), z.literal(2)]).default(2),
    })
    .prefault({}),
  gracefulRestart: z
    .strictObject({
      enabled: z.boolean().default(true),
      gracePeriod: duration({ min: '0s', max: '30m', wholeSeconds: true }).default('10s').meta({
        description: 'How long the neighbours are asked to wait in a planned restart (RFC 3623); 0s: not at all.',
      }),
    })
    .prefault({}),
});

const bgp = z.strictObject({
  asn: asNumber(),
  neighbors: z
    .array(
      z.strictObject({
        address: address(),
        remoteAs: neighborAs(),
        bfd: z.boolean().default(false),
        passwordFile: filePath('the file that holds the password', '/etc/peerless/bgp.key').optional(),
        timers: z
          .strictObject({
            keepalive: duration({ max: '18h', wholeSeconds: true }).default('3s'),
            hold: duration({ max: '18h', wholeSeconds: true }).default('9s'),
            connectRetry: duration({ min: '100ms', max: '1h' }).default('5s'),
          })
          .prefault({}),
        localAddress: address().optional(),
        port: integer(1, 65_535, 'a TCP port').default(179),
        passive: z.boolean().default(false),
        ttlSecurity: z.boolean().default(false),
        multihop: z.boolean().default(false),
        maximumPrefixes: integer(0, 10_000_000)
          .default(0)
          .meta({ description: 'More than this end the session; 0: no limit.' }),
      }),
    )
    .default([]),
  announce: z.strictObject({ communities: z.array(community()).default([]) }).prefault({}),
  gracefulRestart: z
    .strictObject({
      enabled: z.boolean().default(true),
      restartTime: duration({ min: '1s', max: '4095s', wholeSeconds: true }).default('5s').meta({
        description: 'How long the neighbours keep our routes while the agent is away: also those of a dead one.',
      }),
    })
    .prefault({})
    .meta({ description: 'RFC 4724: a crash or restart of the agent, or of the gateway, loses no packet.' }),
  sharedAs: z
    .boolean()
    .default(true)
    .meta({ description: 'The other switch may have the same AS number as this one.' }),
});

const bfd = z
  .strictObject({
    interval: duration({ min: '10ms', max: '1m' }).default('100ms'),
    multiplier: integer(1, 255).default(3),
  })
  .prefault({});

// ------------------------------------------------------------------ the ports of the box

const portDriver = z
  .strictObject({
    driver: anyOf(['auto', 'linux', 'sonic'])
      .default('auto')
      .meta({ description: 'Who shuts and opens ports; `auto`: SONiC where the box is one.' }),
    redis: redisAddress()
      .default('/var/run/redis/redis.sock')
      .meta({ description: "Driver sonic: SONiC's Redis, the path of a socket or host:port." }),
    method: anyOf(['auto', 'admin', 'protodown'])
      .default('auto')
      .meta({ description: 'Driver linux: by admin state or protodown; `auto`: protodown where the device takes it.' }),
    protodownReason: integer(0, 31, 'a bit number')
      .default(5)
      .meta({ description: "Our bit among the kernel's reasons for protodown; nobody else's on the box." }),
    lldp: filePath("the path of lldpd's socket", '/run/lldpd.socket').nullable().default('/run/lldpd.socket').meta({
      description: "lldpd's socket: who is at the other end of each port is shown where there is one; null: not asked.",
    }),
  })
  .prefault({});

// ------------------------------------------------------------------ the rest

const kernel = z
  .strictObject({
    table: integer(1, 0xffffffff, 'a routing table').default(254),
    protocol: integer(5, 255, 'a routing protocol number').default(201),
    handoffTable: integer(1, 0xffffffff, 'a routing table')
      .nullable()
      .default(null)
      .meta({ description: 'The host routes stand in this table too, for FRR or BIRD on the box to announce.' }),
    handoffReader: anyOf(['bird', 'zebra'])
      .default('bird')
      .meta({ description: 'Who reads it; `zebra`: FRR by `ip import-table`, which needs some things its own way.' }),
  })
  .prefault({});

const shadow = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .meta({ description: "Stand by for the other switch's hosts: announce them too, worse than anything real." }),
    twin: routerId()
      .optional()
      .meta({ description: "The other switch's router id. Default: whoever announces our hosts." }),
    repair: z.boolean().default(true).meta({ description: 'With `enabled`: a repair tunnel to the other switch.' }),
    hold: duration({ min: '100ms', max: '1m' }).default('3s').meta({
      description: 'How long a host is stood by for, and packets for it wait, after the other switch let go of it.',
    }),
    table: integer(1, 0xffffffff, 'a routing table').default(20_101).meta({
      description: "Kernel table for what comes from the fabric and is for another switch's hosts.",
    }),
    device: port().default('rep0').meta({ description: 'Name of the device of the repair tunnel.' }),
  })
  .prefault({});

const torSchema = z
  .strictObject({
    role: z.literal('tor'),
    routerId: routerId(),
    hostRoutes,
    portLink: z.array(groupSchema).default([]),
    ports: portDriver,
    name: z.string().min(1).max(64).optional().meta({
      description: "What this switch is called in the gateway's map; the box's host name when absent.",
    }),
    portFacts: z.boolean().default(true).meta({
      description:
        'Tell the gateway of our ports, in band: names, states and why, the MACs and LLDP neighbours behind them.',
    }),
    shadow,
    ospf: ospf.optional(),
    bgp: bgp.optional(),
    bfd,
    kernel,
    control,
    stateDirectory,
  })
  .meta({ title: 'switch (top of rack)' });

const gatewaySchema = z
  .strictObject({
    role: z.literal('gateway'),
    routerId: routerId(),
    mode: anyOf(['observer', 'router']).default('observer').meta({
      description: 'observer: another daemon routes, we listen; router: we are the speaker and install the routes.',
    }),
    defaultOriginate: z.boolean().default(true).meta({
      description: 'Mode router: tell the switches a default route through us.',
    }),
    ospf: ospf.optional(),
    bgp: bgp.optional(),
    bfd,
    map: z
      .strictObject({
        history: duration({ min: '1m', max: '3650d' }).default('7d'),
        file: filePath('the file of the map', `${STATE_DIRECTORY}/map.json`).default(
          () => `${places().stateDirectory}/map.json`,
        ),
      })
      .prefault({}),
    kernel,
    control,
    stateDirectory,
  })
  .meta({ title: 'upstream gateway' });

export const SCHEMAS = { tor: torSchema, gateway: gatewaySchema, host: hostSchema } as const;

export type TorSettings = z.output<typeof torSchema>;
export type GatewaySettings = z.output<typeof gatewaySchema>;
export type GroupSettings = z.output<typeof groupSchema>;
export type OspfSettings = z.output<typeof ospf>;
export type BgpSettings = z.output<typeof bgp>;
export type { HostSettings };
export type Settings = TorSettings | GatewaySettings | HostSettings;

/** JSON Schema (2020-12) of the file as it is written: keys with a default may be left out. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(z.discriminatedUnion('role', [torSchema, gatewaySchema, hostSchema]), {
    io: 'input',
    unrepresentable: 'any',
    target: 'draft-2020-12',
  });
  return {
    ...schema,
    title: 'Peerless configuration',
    description:
      'Shape and single values. `peerless config check` also checks how the values fit together, the secrets and the ports.',
  };
}
