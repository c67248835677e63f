import type { Finding } from '../problem.ts';
import type { PartlyTor } from './partly.ts';

const LAST_PROTOCOL = 251;

export function checkShadow(settings: PartlyTor): Finding[] {
  const { shadow, routerId, kernel, hostRoutes } = settings;
  if (!shadow) return [];
  const findings: Finding[] = [];
  if (shadow.twin !== undefined && shadow.twin === routerId) {
    findings.push({
      path: ['shadow', 'twin'],
      message: `${shadow.twin} is our own routerId`,
      remedy: "Write the other switch's router id.",
    });
  }
  const taken = [
    [254, 'the main table, by which the box forwards'],
    [255, "the kernel's own local table"],
    [253, "the kernel's default table"],
    [20_100, 'for hosts that another switch claims above us'],
    [kernel?.table, 'kernel.table too'],
    [kernel?.handoffTable, 'kernel.handoffTable too'],
    [hostRoutes?.sources.kernel?.table, 'hostRoutes.sources.kernel.table too'],
  ] as const;
  // What comes out of a repair tunnel is looked up in the next one, where our own hosts are.
  for (const used of shadow.repair ? [shadow.table, shadow.table + 1] : [shadow.table]) {
    const other = taken.find(([table]) => table === used);
    if (!other) continue;
    const repair = used === shadow.table ? '' : ', which repair uses,';
    findings.push({
      path: ['shadow', 'table'],
      message: `${used}${repair} is ${other[1]}`,
      remedy: 'Choose a table that nobody else uses, such as 20101.',
    });
  }
  if (shadow.enabled && kernel && kernel.protocol > LAST_PROTOCOL) {
    findings.push({
      path: ['kernel', 'protocol'],
      message: `shadows and repair take the four numbers after it, and there is none above 255`,
      remedy: `Choose ${LAST_PROTOCOL} or less.`,
    });
  }
  return findings;
}
