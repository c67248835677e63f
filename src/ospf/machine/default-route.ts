/**
 * 0.0.0.0/0 of ours, for a gateway: an AS-external LSA, and in NSSAs one of type 7 without the P bit, which no border
 * translates (RFC 3101 §2.4). It is said whether or not we have such a route ourselves.
 */
import { type LsaBody, LsaType, lsaKeyText, Options } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { OspfDefault } from '../face.ts';
import type { Core, Database, LsdbEntry } from './core.ts';
import { isMaxAge } from './lsdb.ts';
import { flush, originate } from './origination.ts';
import { routerChanged } from './topology.ts';

const DEFAULT = 0;

/** Says it, or takes it back, as the configuration of now has it. */
export function defaultChanged(core: Core, now: Instant): void {
  const { originateDefault } = core.options;
  const areas = [...core.areas.values()];
  if (areas.some(({ nssa }) => !nssa)) say(core, core.external, LsaType.AsExternal, Options.E, now);
  for (const { nssa, database } of areas) if (nssa) say(core, database, LsaType.Nssa, 0, now);
  if (originateDefault === undefined && !core.defaultSaid) return;
  core.defaultSaid = originateDefault !== undefined;
  for (const area of areas) routerChanged(area);
}

function say(core: Core, database: Database, type: number, options: number, now: Instant): void {
  const { originateDefault } = core.options;
  const known = database.entries.get(lsaKeyText({ type, linkStateId: DEFAULT, advertisingRouter: core.routerId }));
  if (!originateDefault) {
    if (core.defaultSaid && known) flush(core, known, now);
    return;
  }
  const body: LsaBody = {
    kind: 'external',
    mask: 0,
    metricType: originateDefault.metricType,
    metric: originateDefault.metric,
    forwardingAddress: 0,
    tag: 0,
    tos: [],
  };
  if (known && !known.inherited && !isMaxAge(known) && isSaid(known, originateDefault)) return;
  originate(core, database, type, DEFAULT, options, body, now, known);
}

const isSaid = ({ lsa: { body } }: LsdbEntry, { metric, metricType }: OspfDefault): boolean =>
  body.kind === 'external' && body.metric === metric && body.metricType === metricType;
