/** `bpf/layout.h` in TypeScript: same names, same order. A test compares both by the objects' type information. */
import { array, be16, be32, ipv4, mac, raw, struct, u8, u16, u32, u64, type ValueOf } from './struct.ts';

export const LAYOUT_VERSION = 2;

export const PEERS = 1024;
/** In place of a peer's address, as a number of the machine's: whoever had the record has gone. See `bpf/layout.h`. */
export const PEER_LEFT = 0xfffffffe;
export const PEER_LEAVING = 0xffffffff;
/** Words of `peer.rewrite`: `bpf/rewrite_key.h` has the others. */
export const PEER_KNOWN_UNTIL = 0;
export const PEER_VOID_BEFORE = 2;
export const KEYS_A_PEER = 512;
export const PORTS = 65_536;
export const RULE_SETS = 2;
export const RULE_MASKS = 64;
export const RULE_IDS = 16_384;
export const RATES = 4096;
export const MAX_CONNECTIONS = 1 << 23;

export const MODE = { off: 0, tunnel: 1, rewrite: 2 } as const;
export const KEY_FIELD = { 'ip-id': 0, dscp: 1, option: 2 } as const;
export const FEATURE = { ports: 1, ingress: 2 } as const;
export const PROTOCOL_CLASSES = ['tcp', 'udp', 'icmp'] as const;
export const CONNECTION_STATES = ['free', 'opening', 'established', 'closing', 'closed'] as const;
export type ConnectionState = (typeof CONNECTION_STATES)[number];
export const EXIT_KINDS = ['unknown', 'deliver', 'tunnel', 'public'] as const;
export type ExitKind = (typeof EXIT_KINDS)[number];
export const VERDICT = { none: 0, allow: 1, deny: 2, slow: 3 } as const;
export const VERDICTS = ['none', 'allow', 'deny', 'slow'] as const;
export const RULE_DIRECTION = { out: 1, in: 2, both: 3 } as const;
export const INSTANCE_FLAG = { address: 1, mac: 2, peer: 4 } as const;
export const PROGRAMS = ['from_instance', 'to_instance', 'nic_ingress', 'nic_egress'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

export const config = struct('config', {
  layout: u32,
  mode: u32,
  features: u32,
  key_field: u32,
  underlay_address: ipv4,
  underlay_ifindex: u32,
  vxlan_port: be16,
  reserved: u16,
  connection_mask: u32,
  timeout: array(u64, 15),
  lifetime_send: u64,
  lifetime_receive: u64,
  slow_interval: u64,
  slow_idle: u64,
  slow_force: u64,
  route_interval: u64,
  rewrite: array(u64, 8),
});

export const generations = struct('generations', { exits: u32, reserved: u32 });

export const instance = struct('instance', { vni: u32, address: ipv4, mac, flags: u16 });

export const flowKey = struct('flow_key', {
  saddr: ipv4,
  daddr: ipv4,
  sport: be16,
  dport: be16,
  ingress: u32,
  vni: u32,
  protocol: u8,
  zero: raw(3),
});
export type FlowKey = ValueOf<typeof flowKey>;

export const flowValue = struct('flow_value', { record: u32, generation: u32 });

export const exit = struct('exit', {
  kind: u8,
  ttl_drop: u8,
  flags: u16,
  sequence: u32,
  target: u32,
  generation: u32,
  exits_generation: u32,
  vni: u32,
  saddr: ipv4,
  daddr: ipv4,
  sport: be16,
  dport: be16,
  mtu: u32,
  ethernet: raw(14),
  outer_sport: be16,
  learned: u64,
});

export const direction = struct('direction', {
  key: flowKey,
  host: ipv4,
  ttl: u8,
  seen: u8,
  origin: u8,
  steady: u8,
  last_seen: u64,
  last_slow: u64,
  packets: u64,
  bytes: u64,
  exit,
});

export const connection = struct('connection', {
  expires: u64,
  created: u64,
  generation: u32,
  state: u8,
  protocol: u8,
  verdict: u8,
  flags: u8,
  rule_generation: u32,
  rule: u32,
  rate: array(u16, 4),
  rewrite: array(u32, 6),
  direction: array(direction, 2),
});
export type Connection = ValueOf<typeof connection>;

export const peer = struct('peer', {
  address: ipv4,
  local: ipv4,
  next_hop: ipv4,
  ifindex: u32,
  mtu: u32,
  generation: u32,
  route_checked: u64,
  last_sent: u64,
  last_heard: u64,
  ttl: u8,
  zero: raw(7),
  rewrite: array(u64, 8),
});
export type Peer = ValueOf<typeof peer>;

export const restored = struct('restored', {
  host: ipv4,
  vni: u32,
  saddr: ipv4,
  daddr: ipv4,
  dscp: u8,
  ttl: u8,
  ethernet: raw(12),
  zero: raw(2),
  told: u64,
});
export type Restored = ValueOf<typeof restored>;

export const sentPair = struct('sent_pair', {
  peer: u32,
  vni: u32,
  saddr: ipv4,
  daddr: ipv4,
  dscp: u8,
  ttl: u8,
  zero: u16,
});

export const sentKey = struct('sent_key', { key: u32, epochs: u32, heard: u64, until: u64, renew: u64 });

export const ruleState = struct('rule_state', { generation: u32, set: u8, masks: u8, default_verdict: u8, zero: u8 });

export const ruleMask = struct('rule_mask', {
  saddr: be32,
  daddr: be32,
  sport: be16,
  dport: be16,
  vni: u32,
  protocol: u8,
  directions: u8,
  flags_of: u8,
  flags_set: u8,
});
export type RuleMask = ValueOf<typeof ruleMask>;

export const ruleKey = struct('rule_key', {
  saddr: be32,
  daddr: be32,
  sport: be16,
  dport: be16,
  vni: u32,
  protocol: u8,
  set: u8,
  mask: u8,
  zero: u8,
});

export const rule = struct('rule', {
  priority: u32,
  id: u32,
  verdict: u32,
  rate_priority: u32,
  rate_id: u32,
  rate: u32,
});

export const rate = struct('rate', { cost: u64, burst: u64, rule: u32, zero: u32 });

export const ruleCount = struct('rule_count', {
  denied_packets: u64,
  denied_bytes: u64,
  limited_packets: u64,
  limited_bytes: u64,
});

/** In the order of `enum statistic`; the reasons for the slow path follow, then the rewrite mode. */
export const STATISTICS = [
  'packets',
  'hit',
  'hitBytes',
  'miss',
  'made',
  'merged',
  'full',
  'expired',
  'learned',
  'changed',
  'doubted',
  'denied',
  'limited',
] as const;
/** Reasons for the slow path, from `SLOW_OTHER_PROTOCOL` on. */
export const SLOW_REASONS = [
  'other-protocol',
  'fragment',
  'options',
  'truncated',
  'vlan',
  'unknown-port',
  'host',
  'state',
  'no-exit',
  'aged',
  'port-changed',
  'peer-changed',
  'no-route',
  'mtu',
  'ttl',
  'ecn',
  'segmented-udp',
  'keepalive',
  'rule',
  'refused',
  'stranger',
] as const;

/** Of the rewrite mode, from `REWRITE_SENT` on. */
export const REWRITE_STATISTICS = [
  'sent',
  'received',
  'received-slow',
  'key-told',
  'key-heard',
  'hello-heard',
  'voided',
  'keys-out',
  'unknown-key',
  'fragment',
  'mode-differs',
  'guarded',
] as const;

/** Structures that the programs and the agent share. */
export const STRUCTURES = [
  config,
  generations,
  instance,
  flowKey,
  flowValue,
  exit,
  direction,
  connection,
  peer,
  restored,
  sentPair,
  sentKey,
  ruleState,
  ruleMask,
  ruleKey,
  rule,
  rate,
  ruleCount,
] as const;
