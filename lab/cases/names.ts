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
export type CaseName = (typeof CASE_NAMES)[number];
