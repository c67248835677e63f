/** Every case by name: apart from the cases themselves, so that the command line need not load the lab to know them. */
export const CASE_NAMES = ['server-link', 'nic-down', 'uplink', 'tor-death', 'agent-kill', 'restart'] as const;
export type CaseName = (typeof CASE_NAMES)[number];
