/** Starts FRR's or BIRD's daemons in a namespace, with every file in a directory of the lab. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Place, runIn, startIn } from '../place.ts';
import { isRunning, type ProcessRecord, waitUntil } from '../processes.ts';
import type { FrrConfiguration, FrrDaemon } from './frr.ts';

const FRR = '/usr/lib/frr';
/** zebra first: the others connect to it when they start. */
const ORDER: readonly FrrDaemon[] = ['zebra', 'bfdd', 'ospfd', 'bgpd'];

export async function startFrr(
  place: Place,
  directory: string,
  configuration: FrrConfiguration,
): Promise<ProcessRecord[]> {
  const started: ProcessRecord[] = [];
  // The daemons become the package's own user, who must be a member of the group `frrvty`, and root is not.
  await runIn(place, ['chown', 'frr:frr', directory]);
  for (const daemon of ORDER) {
    const text = configuration[daemon];
    if (text === undefined) continue;
    const file = join(directory, `${daemon}.conf`);
    const socket = join(directory, `${daemon}.vty`);
    writeFileSync(file, text);
    rmSync(socket, { force: true });
    // `-P 0`: no TCP port for the vty.
    const command = [`${FRR}/${daemon}`, '-f', file, '-i', join(directory, `${daemon}.pid`)];
    command.push('-z', join(directory, 'zserv.api'), '--vty_socket', directory, '-P', '0');
    const log = join(directory, `${daemon}.log`);
    // Namespaces share /var/run, where it is otherwise.
    if (daemon === 'bfdd') command.push('--bfdctl', join(directory, 'bfdd.sock'));
    const record = await startIn(place, `${place.node} ${daemon}`, command, log);
    started.push(record);
    if (!(await waitUntil(() => existsSync(socket) || !isRunning(record), 10_000, 20)) || !isRunning(record)) {
      throw new Error(`${daemon} of ${place.node} did not start: see ${log}`);
    }
  }
  return started;
}

export async function startBird(place: Place, directory: string, configuration: string): Promise<ProcessRecord[]> {
  const file = join(directory, 'bird.conf');
  const socket = join(directory, 'bird.ctl');
  const log = join(directory, 'bird.log');
  writeFileSync(file, configuration);
  rmSync(socket, { force: true });
  const command = ['bird', '-f', '-c', file, '-s', socket, '-P', join(directory, 'bird.pid')];
  const record = await startIn(place, `${place.node} bird`, command, log);
  if (!(await waitUntil(() => existsSync(socket) || !isRunning(record), 10_000, 20)) || !isRunning(record)) {
    throw new Error(`bird of ${place.node} did not start: see ${log}`);
  }
  return [record];
}
