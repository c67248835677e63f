import { AF, FR_ACT, type Rtnetlink, type Rule } from 'rtnetlink-ts';
import { compareRules, rulesOf } from '../policy-rules.ts';

/**
 * Where packets go that come out of the tunnel: to a host of ours (`hosts`, a table that holds nothing else), into the
 * waiting room with those of a host that we stand by for (`shadows`), or nowhere. Never back into the fabric or a
 * tunnel, so that two switches that have both lost a server can't play ball with its packets.
 */
export interface ExitTables {
  readonly hosts: number;
  readonly shadows: number;
}

/** Beyond those of the shadows (20100 and up), before the main table's. */
const PRIORITY = 20_200;

type Requests = Pick<Rtnetlink, 'dumpRules' | 'addRule' | 'deleteRule'>;

const FAMILIES = [AF.INET, AF.INET6] as const;

function exitRules(family: number, device: string, { hosts, shadows }: ExitTables, protocol: number): Rule[] {
  const common = { family, inputInterface: device, protocol };
  // The last one first: until the others are there nothing gets out.
  return [
    { ...common, priority: PRIORITY + 2, action: FR_ACT.BLACKHOLE, table: 0 },
    { ...common, priority: PRIORITY + 1, action: FR_ACT.TO_TBL, table: shadows },
    { ...common, priority: PRIORITY, action: FR_ACT.TO_TBL, table: hosts },
  ];
}

/** Ours are known by `protocol`; those that do not fit go. */
export async function ensureExitRules(
  rtnetlink: Requests,
  device: string,
  tables: ExitTables,
  protocol: number,
): Promise<void> {
  for (const family of FAMILIES) {
    const present = await rulesOf(rtnetlink, family);
    if (!present) continue;
    const wanted = exitRules(family, device, tables, protocol);
    const { missing, left } = compareRules(present, wanted, protocol);
    for (const rule of missing) await rtnetlink.addRule(rule);
    for (const rule of left) await rtnetlink.deleteRule(rule);
  }
}

export async function findExitRules(rtnetlink: Pick<Rtnetlink, 'dumpRules'>, protocol: number): Promise<Rule[]> {
  const rules: Rule[] = [];
  for (const family of FAMILIES) rules.push(...((await rulesOf(rtnetlink, family)) ?? []));
  return rules.filter((rule) => rule.protocol === protocol);
}
