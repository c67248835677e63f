import { z } from 'zod';
import { address, duration, filePath, groupName, integer, mac, port, prefix } from './scalars.ts';
import { backend, endpoint, portRange, protocol, rate, serverUrl } from './scalars-host.ts';
import { anyOf, control, stateDirectory } from './schema-common.ts';

/** The file of a hypervisor or container host. The networks and the underlay are IPv4. */

const underlay = z
  .strictObject({
    address: address(4).meta({ description: "The tunnels' source: an address of this host." }),
    device: port().meta({ description: 'The device that it stands on.' }),
  })
  .meta({ description: 'What the tunnels run over.' });

export const networkSchema = z.strictObject({
  name: groupName(),
  vni: integer(1, 0xffffff, 'a network number').meta({
    description: 'VNI or key in the tunnels; the same on every host.',
  }),
  subnet: prefix(4).meta({ description: 'Two networks may have the same; they are not routed to each other then.' }),
  gateway: address(4)
    .optional()
    .meta({ description: "The instances' gateway, on every host; without one nothing is routed out of the network." }),
  encapsulation: anyOf(['vxlan', 'gre', 'geneve', 'ipip']).default('vxlan'),
});

export const instanceSchema = z.strictObject({
  name: groupName(),
  network: groupName(),
  address: address(4),
  mac: mac().optional().meta({ description: 'Learned from what it sends when absent.' }),
  interface: port().meta({ description: "The host's side of its veth or tap; it may come later." }),
});

export const remoteSchema = z.strictObject({
  host: address(4).meta({ description: 'Its underlay address.' }),
  network: groupName(),
  addresses: z.array(prefix(4)).min(1).meta({ description: 'What lies behind it; the longest prefix decides.' }),
});

export const ruleSchema = z.strictObject({
  name: groupName(),
  network: groupName().optional().meta({ description: 'Every network when absent.' }),
  direction: anyOf(['in', 'out', 'both'])
    .default('both')
    .meta({ description: 'Seen from the instance: out is what it sends.' }),
  from: endpoint().default('any'),
  to: endpoint().default('any'),
  protocol: protocol().default('any'),
  ports: z.array(portRange()).default([]).meta({ description: 'Destination ports; all when empty.' }),
  sourcePorts: z.array(portRange()).default([]),
  tcpFlags: z
    .strictObject({
      set: z.array(anyOf(['fin', 'syn', 'rst', 'psh', 'ack', 'urg'])).default([]),
      of: z.array(anyOf(['fin', 'syn', 'rst', 'psh', 'ack', 'urg'])).optional(),
    })
    .optional()
    .meta({
      description: 'Of the flags in `of` (default: those in `set`) exactly those in `set` stand in the packet.',
    }),
  action: anyOf(['allow', 'deny']).optional(),
  rate: rate().optional().meta({ description: 'What passes is limited to this.' }),
});

const policyShape = {
  default: anyOf(['allow', 'deny'])
    .default('allow')
    .meta({ description: 'allow: the rules are a deny list; deny: they are an allow list.' }),
  initiate: anyOf(['both', 'inside'])
    .default('both')
    .meta({ description: 'inside: nobody outside a network may open a connection into it.' }),
};

export const policyHead = z.object(policyShape);

const policy = z.strictObject({ ...policyShape, rules: z.array(ruleSchema).default([]) }).prefault({});

export const serviceSchema = z.strictObject({
  name: groupName(),
  network: groupName(),
  address: address(4),
  port: integer(1, 65_535, 'a port'),
  protocol: anyOf(['tcp', 'udp']).default('tcp'),
  backends: z.array(backend()).default([]),
  balance: anyOf(['random', 'least-loaded']).default('random'),
  healthCheck: z
    .strictObject({
      interval: duration({ min: '100ms', max: '1h' }).default('5s'),
      timeout: duration({ min: '10ms', max: '1m' }).default('1s'),
      retries: integer(1, 100).default(3),
    })
    .optional()
    .meta({ description: 'A backend that does not answer is left out until it does.' }),
});

export const snatSchema = z.strictObject({
  network: groupName(),
  to: prefix(4).default('0.0.0.0/0').meta({ description: 'Public destinations; the longest prefix decides.' }),
  address: address(4).meta({ description: 'The source that they see.' }),
});

const fastPath = z
  .strictObject({
    mode: anyOf(['off', 'tunnel', 'rewrite']).default('off').meta({
      description: 'tunnel: outer headers from a cache; rewrite: none at all, a key instead; the same on all hosts.',
    }),
    keyField: anyOf(['ip-id', 'dscp', 'option'])
      .default('ip-id')
      .meta({ description: 'Mode rewrite: where the key stands.' }),
    lifetime: z
      .strictObject({
        send: duration({ min: '1s', max: '1h' }).default('30s'),
        receive: duration({ min: '2s', max: '2h' }).default('60s'),
      })
      .prefault({})
      .meta({ description: 'Of entries that nobody uses; the receiving side keeps them longer.' }),
    checkInterval: duration({ min: '100ms', max: '10m' })
      .default('5s')
      .meta({ description: 'Between two looks for old entries.' }),
    features: z
      .array(anyOf(['source', 'source-port', 'destination', 'destination-port', 'protocol', 'ingress', 'network']))
      .min(1)
      .default(['source', 'source-port', 'destination', 'destination-port', 'protocol', 'ingress', 'network'])
      .meta({ description: 'What a connection is known by.' }),
    timeouts: z
      .strictObject({
        opening: duration({ min: '1s', max: '10m' }).default('30s'),
        established: duration({ min: '1s', max: '24h' }).default('10m'),
        closing: duration({ min: '1s', max: '10m' }).default('10s'),
      })
      .prefault({})
      .meta({ description: 'Of a connection without packets, by its state.' }),
  })
  .prefault({});

const neighbours = z
  .strictObject({
    proactive: z.boolean().default(true).meta({ description: "Ask for tunnel ends' MACs before there is a packet." }),
    poll: duration({ min: '100ms', max: '10m' }).default('5s'),
    hold: z
      .strictObject({
        enabled: z.boolean().default(true),
        lifetime: duration({ min: '10ms', max: '1m' }).default('1s'),
        perNeighbour: integer(1, 65_536).default(256),
        total: integer(1, 1_000_000).default(8192),
      })
      .prefault({})
      .meta({ description: 'Packets wait for the MAC of their tunnel end, each for its lifetime at most.' }),
    ovs: z
      .strictObject({ socket: filePath("the path of Open vSwitch's database socket", '/var/run/openvswitch/db.sock') })
      .optional()
      .meta({ description: 'Open vSwitch on this host, whose tunnels are served too.' }),
  })
  .prefault({});

const encryption = z
  .strictObject({
    policy: anyOf(['off', 'available', 'overlap', 'strict']).optional().meta({
      description:
        'When the ends hold different keys: available: plain; overlap: keys that both still hold count, never plain; strict: held or dropped. Default: overlap with keys, off without.',
    }),
    keys: z
      .strictObject({
        directory: filePath('the directory of the keys', '/etc/peerless/keys').optional(),
        etcd: z.array(serverUrl()).min(1).optional(),
        prefix: filePath('the prefix of the keys in etcd', '/peerless/keys/').optional(),
        tls: z
          .strictObject({
            ca: filePath('the file of the certificate authority', '/etc/peerless/etcd-ca.pem').optional(),
            cert: filePath('the file of our certificate', '/etc/peerless/etcd.pem').optional(),
            key: filePath('the file of its private key', '/etc/peerless/etcd.key').optional(),
            serverName: z
              .string()
              .min(1)
              .optional()
              .meta({ description: "What the server's certificate must say; without it the host of the URL." }),
          })
          .optional()
          .meta({ description: 'etcd by https: PEM files, read anew for each connection.' }),
        user: z
          .strictObject({
            name: z.string().min(1),
            passwordFile: filePath('the file of the password', '/etc/peerless/etcd.password'),
          })
          .optional()
          .meta({ description: "etcd's own users; by https only." }),
      })
      .prefault({})
      .meta({ description: 'Where they come from: a directory, or etcd.' }),
    backend: anyOf(['auto', 'worker', 'xfrm']).default('auto').meta({
      description:
        'Who encrypts: a process beside the agent, or the kernel (xfrm, where it has ESP). The same on all hosts; auto: worker.',
    }),
    versions: integer(1, 16).default(5).meta({ description: 'How many versions of the key are held.' }),
    plain: anyOf(['esp', 'vxlan'])
      .default('esp')
      .meta({ description: 'Policy available: how plain text travels; both are understood.' }),
    port: integer(1, 65_535, 'a UDP port').default(4500).meta({ description: 'The same on all hosts.' }),
    sourcePorts: z
      .strictObject({
        first: integer(1, 65_535, 'a UDP port').default(61_440),
        count: integer(0, 64).default(16).meta({ description: '0: everything leaves from `port`.' }),
      })
      .prefault({})
      .meta({
        description: 'The worker sends from these UDP ports, each flow from one, so that the fabric spreads them.',
      }),
    notifyIdle: duration({ min: '1s', max: '24h' })
      .default('25m')
      .meta({ description: 'Nothing sent back for so long: a peer with another key is told by a packet of its own.' }),
  })
  .prefault({});

export const hostSchema = z
  .strictObject({
    role: z.literal('host'),
    underlay,
    networks: z.array(networkSchema).default([]),
    instances: z.array(instanceSchema).default([]),
    remotes: z.array(remoteSchema).default([]),
    policy,
    services: z.array(serviceSchema).default([]),
    snat: z.array(snatSchema).default([]),
    adopt: z.boolean().default(false).meta({
      description:
        'Networks that another program has laid out in this kernel (flannel, a script) are taken as they are.',
    }),
    fastPath,
    neighbours,
    encryption,
    control,
    stateDirectory,
  })
  .meta({ title: 'hypervisor or container host' });

export type HostSettings = z.output<typeof hostSchema>;
export type NetworkSettings = z.output<typeof networkSchema>;
export type InstanceSettings = z.output<typeof instanceSchema>;
export type RemoteSettings = z.output<typeof remoteSchema>;
export type RuleSettings = z.output<typeof ruleSchema>;
export type ServiceSettings = z.output<typeof serviceSchema>;
export type SnatSettings = z.output<typeof snatSchema>;
