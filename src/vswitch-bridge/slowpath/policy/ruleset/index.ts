/**
 * The overlay's policy as one nftables ruleset. Pure: the same state gives the same document, octet for octet.
 *
 * `table bridge peerless` knows ports, `table inet peerless` does the rest on the bridge's IP packets, which br_netfilter
 * brings there. The way of a packet: class (bridge, prerouting) → zone → conntrack → judge → rate → DNAT → routing or
 * bridging → SNAT → leave.
 */
import type { OverlayState } from '../../../../model/overlay.ts';
import { addAcl } from './acl.ts';
import { bridgeTable } from './bridge-table.ts';
import { type Ruleset, TableBuilder } from './document.ts';
import { addLeaving } from './leaving.ts';
import { addRates } from './rates.ts';
import { addProbeSources, addServices, type ServiceWeights } from './services.ts';
import { addStrangers } from './strangers.ts';
import { addTracking } from './tracking.ts';
import { zonesOf } from './zones.ts';

export { ruleCounter } from './acl.ts';
export { unusableInterfaces } from './bridge-table.ts';
export { deletionText, differenceText, type Ruleset, stampOf, TABLE, wholeText } from './document.ts';
export { digest } from './literals.ts';
export { CLASS, COUNTERS, devicesOf, MARK_CLASS_MASK, openerMark } from './names.ts';
export { type BackendWeight, probeSource, type ServiceWeights, serviceKey } from './services.ts';
export { SHARED_ZONE, zonesOf } from './zones.ts';

/** @param espPort UDP port on which hosts take each other's encrypted packets; absent: they send none */
export function renderRuleset(
  state: OverlayState,
  weights: ServiceWeights = new Map(),
  espPort: number | undefined = undefined,
): Ruleset {
  const zones = zonesOf(state);
  const table = new TableBuilder('inet');
  addTracking(table, state, zones);
  addStrangers(table, state, espPort);
  addAcl(table, state, zones);
  addRates(table, state, zones);
  addServices(table, state, zones, weights);
  addProbeSources(table, state);
  addLeaving(table, state, espPort);
  return { tables: [bridgeTable(state), table] };
}
