/** Servers of the worked example as overlay hosts: the ToRs A and B stand between them. */
import { GATEWAY_ADDRESS, namespaceOf, SERVERS, type ServerName } from '../topology/plan.ts';
import type { StandingHost } from './plan.ts';

/** @param lab one that stands; its servers' teams are the underlay devices */
export const serversOf = (lab: string, names: readonly ServerName[]): StandingHost[] =>
  SERVERS.filter(({ name }) => names.includes(name)).map(({ name, address, mac }) => ({
    netns: namespaceOf(lab, name),
    device: 'bond0',
    address,
    prefixLength: 24,
    gateway: GATEWAY_ADDRESS,
    mac,
  }));
