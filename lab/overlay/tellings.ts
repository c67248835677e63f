/** What the five agents have told of the story: both switches, three hosts. */
import type { EventView } from '../../src/agent/api.ts';
import type { Outcome } from '../processes.ts';
import type { OverlayLab } from './lab.ts';
import type { Told } from './page.ts';

/** Starts and configurations are no part of it. */
const UNTOLD = /^(agent|config|process)\./;

function read(who: string, { code, stdout, stderr }: Outcome): Told[] {
  if (code !== 0) throw new Error(`${who}: peerless events: ${stderr}`);
  return (JSON.parse(stdout) as EventView[])
    .filter(({ type }) => !UNTOLD.test(type))
    .map(({ monotonicUs, message }) => ({ at: monotonicUs / 1000, who, what: message }));
}

export async function tellings(lab: OverlayLab): Promise<Told[]> {
  const words = ['events', '--json'];
  const switches = await Promise.all((['A', 'B'] as const).map(async (tor) => read(tor, await lab.tor(tor, words))));
  const hosts = await Promise.all(lab.hosts.map(async ({ name, agent }) => read(name, await agent.cli(words))));
  return [...switches, ...hosts].flat();
}
