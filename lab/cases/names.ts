/** Every case by name: apart from the cases themselves, so that the command line need not load the lab to know them. */
export const CASE_NAMES = [
  'server-link',
  'nic-down',
  'uplink',
  'tor-death',
  'agent-kill',
  'vm-link',
  'vm-move',
  'failback-stale',
  'duplicate',
  'many',
  'active-active',
  'restart',
  'silent-uplink',
  'silent-uplink-bfd',
  'restart-bfd',
  'drain',
  'handoff-frr',
  'handoff-bird',
  'static',
] as const;

/** With a crowd of addresses: driven when they are named, and not by `all`. */
export const CROWD_NAMES = [
  'server-link-1000',
  'uplink-1000',
  'tor-death-1000',
  'server-link-10000',
  'uplink-10000',
  'tor-death-10000',
] as const;
export type CrowdName = (typeof CROWD_NAMES)[number];
export type CaseName = (typeof CASE_NAMES)[number] | CrowdName;
