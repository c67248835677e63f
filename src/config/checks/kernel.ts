import type { Finding } from '../problem.ts';
import type { TorSettings } from '../schema.ts';
import type { PartlyTor } from './partly.ts';

/** A table that we write ourselves would tell us our own hosts back, for ever. */
export function checkKernelSource({ hostRoutes, kernel }: PartlyTor): Finding[] {
  const source = hostRoutes?.sources.kernel;
  if (!source || !kernel) return [];
  const { table } = source;
  const path = ['hostRoutes', 'sources', 'kernel', 'table'];
  if (table === 255) {
    return [{ path, message: "255 is the kernel's own local table", remedy: 'Choose another table.' }];
  }
  const own = (['table', 'handoffTable'] as const).find((key) => kernel[key] === table);
  if (!own) return [];
  return [
    {
      path,
      message: `${table} is kernel.${own} too`,
      remedy: 'Have the other program write into a table of its own: into ours we write ourselves.',
    },
  ];
}

/** Hosts that another switch claims above us stand there, for what comes in by an uplink. */
const YIELDING_TABLE = 20_100;

export function checkKernel(settings: TorSettings['kernel']): Finding[] {
  const findings: Finding[] = [];
  for (const key of ['table', 'handoffTable'] as const) {
    if (settings[key] === YIELDING_TABLE) {
      findings.push({
        path: ['kernel', key],
        message: `${YIELDING_TABLE} is for hosts that another switch claims above us`,
        remedy: 'Choose another (254 is main).',
      });
    }
    if (settings[key] === 255) {
      findings.push({
        path: ['kernel', key],
        message: "255 is the kernel's own local table",
        remedy: 'Choose another (254 is main).',
      });
    }
  }
  if (settings.handoffTable === 254 && settings.table !== 254) {
    findings.push({
      path: ['kernel', 'handoffTable'],
      message: '254 is the main table, by which the box forwards',
      remedy: 'Choose a table that nobody else uses, such as 100.',
    });
  }
  if (settings.handoffTable === settings.table) {
    findings.push({
      path: ['kernel', 'handoffTable'],
      message: `${settings.handoffTable} is kernel.table too`,
      remedy: 'Choose another table, or null when the other daemon reads kernel.table itself.',
    });
  }
  return findings;
}
