import { checkHost } from './checks/host.ts';
import { checkHostRoutes } from './checks/host-routes.ts';
import { checkKernel, checkKernelSource } from './checks/kernel.ts';
import type { Partly } from './checks/partly.ts';
import { checkPortLink } from './checks/port-link.ts';
import { checkBgp, checkOspf } from './checks/routing.ts';
import { checkShadow } from './checks/shadow.ts';
import type { Finding } from './problem.ts';

/**
 * How the values fit together, section by section. Runs on whatever sections are right by themselves, so that one typing
 * mistake doesn't hide the rest.
 */
export function check(settings: Partly): Finding[] {
  const findings: Finding[] = [];
  if (settings.role === 'tor') {
    if (settings.hostRoutes) findings.push(...checkHostRoutes(settings.hostRoutes, settings.bgp));
    findings.push(...checkKernelSource(settings));
    if (settings.portLink) findings.push(...checkPortLink(settings.portLink, settings));
    findings.push(...checkShadow(settings));
  }
  if (settings.role === 'host') {
    findings.push(...checkHost(settings));
  } else {
    if (settings.ospf) findings.push(...checkOspf(settings.ospf));
    if (settings.bgp) findings.push(...checkBgp(settings.bgp));
    if (settings.kernel) findings.push(...checkKernel(settings.kernel));
  }
  if (settings.control && Buffer.byteLength(settings.control.socket) > 107) {
    findings.push({
      path: ['control', 'socket'],
      message: 'the path is too long for a Unix socket',
      remedy: 'Choose one of at most 107 octets.',
    });
  }
  return findings;
}
