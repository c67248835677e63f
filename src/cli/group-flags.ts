import { Flags } from '@oclif/core';
import type { PortLinkSettings } from '../agent/api.ts';

/** A list on the command line: commas separate, but not those inside brackets (`swp[1,3],swp7`). */
function splitList(text: string): string[] {
  return text
    .split(/,(?![^[\]]*\])/)
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

const list = (description: string, helpValue = 'PORTS') => Flags.string({ description, helpValue });

const UPLINKS = { description: "ports to the fabric, such as A0 or 'swp[49-52]'", helpValue: 'PORTS' };
const DOWNLINKS = { description: "ports to servers, such as A1,A2 or 'swp[1-48]'", helpValue: 'PORTS' };

/** What a new group can't be without. */
export const requiredGroupFlags = {
  uplinks: Flags.string({ ...UPLINKS, required: true }),
  downlinks: Flags.string({ ...DOWNLINKS, required: true }),
};

/** A flag for each key of a port-link group. The agent checks the values, so that there is one judge. */
export const groupFlags = {
  description: Flags.string({ description: 'text for people', helpValue: 'TEXT' }),
  enabled: Flags.boolean({ description: 'whether the group acts at all', allowNo: true }),
  uplinks: Flags.string(UPLINKS),
  downlinks: Flags.string(DOWNLINKS),
  direction: Flags.string({ description: 'which direction is mapped', options: ['uplink', 'downlink', 'both'] }),
  'min-uplinks': Flags.integer({ description: 'fewer than this up: act', helpValue: 'N' }),
  'up-when': list('what an uplink needs to be up: carrier,adjacency,nexthop,default-route,bfd', 'CONDITIONS'),
  nexthops: list('whom to ask with --up-when nexthop; found by itself when empty', 'ADDRESSES'),
  shut: Flags.string({
    description: 'how many downlinks to shut while uplinks are left: all, N or N%',
    helpValue: 'AMOUNT',
  }),
  priority: list('who is shut first when partial'),
  'defer-delay': Flags.string({ description: 'wait before acting', helpValue: 'DURATION' }),
  'recovery-delay': Flags.string({ description: 'wait before the downlinks reopen', helpValue: 'DURATION' }),
  'auto-recover': Flags.boolean({ description: 'reopen without being asked', allowNo: true }),
  'startup-delay': Flags.string({ description: 'wait after the start of the agent', helpValue: 'DURATION' }),
  'group-dry-run': Flags.boolean({
    description: "the group's own dryRun: log what it would do, and do nothing",
    allowNo: true,
  }),
  'shut-uplinks': Flags.boolean({ description: 'direction downlink or both: shut the uplinks too', allowNo: true }),
  'allow-management-port': Flags.boolean({
    description: 'the group may shut the port through which somebody is logged in',
    allowNo: true,
  }),
  'on-stop': Flags.string({
    description: 'what becomes of shut ports when the agent stops',
    options: ['leave', 'reopen'],
  }),
};

interface GroupFlagValues {
  readonly [flag: string]: unknown;
}

/** The settings that were given on the command line, and none else. */
export function groupSettings(flags: GroupFlagValues): PortLinkSettings {
  const settings: Record<string, unknown> = {};
  for (const flag of Object.keys(groupFlags)) {
    const value = flags[flag];
    if (value !== undefined)
      settings[KEYS[flag] ?? flag] = LISTS.has(flag) ? splitList(String(value)) : amount(flag, value);
  }
  return settings as PortLinkSettings;
}

const LISTS: ReadonlySet<string> = new Set(['uplinks', 'downlinks', 'priority', 'up-when', 'nexthops']);

const KEYS: Readonly<Record<string, string>> = {
  'min-uplinks': 'minUplinks',
  'up-when': 'upWhen',
  'defer-delay': 'deferDelay',
  'recovery-delay': 'recoveryDelay',
  'auto-recover': 'autoRecover',
  'startup-delay': 'startupDelay',
  'group-dry-run': 'dryRun',
  'on-stop': 'onStop',
  'shut-uplinks': 'shutUplinks',
  'allow-management-port': 'allowManagementPort',
};

const amount = (flag: string, value: unknown): unknown =>
  flag === 'shut' && /^\d+$/.test(String(value)) ? Number(value) : value;
