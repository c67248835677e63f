/** What runs beside the agent, or in its place at the wire: another routing daemon, or an operator's automation at G. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from '../containers/podman.ts';
import { startBird, startFrr } from '../gateway/daemons.ts';
import { inNetwork, placeOf, runIn } from '../place.ts';
import { type ProcessRecord, run, startDetached } from '../processes.ts';
import { loadState } from '../state.ts';
import { TORS } from '../topology/plan.ts';
import { agentCommandLine, socketOf } from './peerless.ts';
import type { TorSettings } from './today.ts';

const EXAMPLES = join(PROJECT, 'docs/examples/handoff');

/** The shipped example, which is switch A's; on B with B's own numbers in it. */
export function example(file: 'frr.conf' | 'bird.conf', { tor }: Pick<TorSettings, 'tor'>): string {
  const text = readFileSync(join(EXAMPLES, file), 'utf8');
  if (tor === 'A') return text;
  const [theirs, ours] = [TORS.A, TORS[tor]].map((each) => Object.values(each).map(String)) as [string[], string[]];
  const numbers = new Map(theirs.map((value, index) => [value, ours[index]!]));
  numbers.delete(TORS.A.gatewayPort);
  return text.replace(/[0-9A-Za-z.]+/g, (word) => numbers.get(word) ?? word);
}

/** FRR reads its one file as at boot: by `vtysh -b`, when its daemons are there. */
export async function startFrrExample(settings: TorSettings): Promise<ProcessRecord[]> {
  const { place, directory } = settings;
  const daemons = await startFrr(place, directory, { zebra: '', ospfd: '', bgpd: '' });
  writeFileSync(join(directory, 'frr.conf'), example('frr.conf', settings));
  writeFileSync(join(directory, 'vtysh.conf'), 'service integrated-vtysh-config\n');
  await runIn(place, ['vtysh', '--vty_socket', directory, '--config_dir', directory, '-b']);
  return daemons;
}

export const startBirdExample = (settings: TorSettings): Promise<ProcessRecord[]> =>
  startBird(settings.place, settings.directory, example('bird.conf', settings).replace('log syslog', 'log stderr'));

/**
 * No protocol at all: the ToR's way up is a static default route, and at G something takes the exported list. It leaves
 * G without routes of this ToR when it ends.
 */
export async function startExport(settings: TorSettings): Promise<ProcessRecord[]> {
  const { lab, tor, place, directory } = settings;
  await run(['ip', '-n', place.namespace, 'route', 'replace', 'default', 'via', TORS[tor].peer]);
  const gateway = placeOf(loadState(lab), 'G');
  const export_ = agentCommandLine(['hosts', '--export', 'iproute2', '--follow', '--socket', socketOf(directory)]);
  const script = `trap 'trap - TERM; ip route flush proto 201 via ${TORS[tor].address}; kill 0' TERM
"$@" | ip -force -batch - &
wait`;
  const command = inNetwork(gateway, ['sh', '-c', script, 'sh', ...export_]);
  return [await startDetached(`${tor} export`, command, join(directory, 'export.log'))];
}
