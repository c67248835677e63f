import type { Finding } from '../problem.ts';
import type { PartlyTor } from './partly.ts';

export function checkShadow(settings: PartlyTor): Finding[] {
  const { shadow, routerId, kernel, hostRoutes, portLink } = settings;
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
    [kernel?.table, 'kernel.table too'],
    [kernel?.handoffTable, 'kernel.handoffTable too'],
    [hostRoutes?.sources.kernel?.table, 'hostRoutes.sources.kernel.table too'],
  ] as const;
  const other = taken.find(([table]) => table === shadow.table);
  if (other) {
    findings.push({
      path: ['shadow', 'table'],
      message: `${shadow.table} is ${other[1]}`,
      remedy: 'Choose a table that nobody else uses, such as 20101.',
    });
  }
  if (shadow.enabled && portLink && !portLink.some((group) => (group?.uplinks.length ?? 1) > 0)) {
    findings.push({
      path: ['shadow', 'enabled'],
      message: 'no group of portLink names an uplink',
      remedy: 'Name the uplinks in a group: what comes in by them for such hosts is made to wait, nothing else.',
    });
  }
  return findings;
}
