/**
 * A SONiC-like switch's daemons and hardware. They run as long as the switch has power; when Redis goes they wait for it,
 * and go on with what its databases hold then.
 *
 * Arguments: lab, ToR, socket of Redis, file that is written when the ports are made.
 */
import { writeFileSync } from 'node:fs';
import { Kernel } from '../../../src/netlink/index.ts';
import { LinkSetter } from '../../netlink.ts';
import { sleep } from '../../processes.ts';
import { cableAt, namespaceOf, type TorName } from '../../topology/plan.ts';
import { Daemons } from './daemons.ts';
import { Lasers } from './lasers.ts';

const RETRY = 20;

const [lab, tor, socket, readyFile] = process.argv.slice(2) as [string, TorName, string, string];
const netns = namespaceOf(lab, tor);
const refused = (errno: number): void => console.error(`link refused: errno ${errno}`);
const interfaces = new LinkSetter(netns, refused);
const lasers = new Lasers(lab, tor, refused);
await lasers.ready;
const kernel = await Kernel.open({ netns });

for (let warm = false; ; warm = true) {
  const daemons = new Daemons({
    socket,
    kernel,
    hardware: (port, up) => lasers.set(port, up),
    netdev: (port, up) => interfaces.apply([{ ifindex: cableAt(port).near.ifindex, up }]),
  });
  try {
    await daemons.start({ warm });
    writeFileSync(readyFile, '');
    await daemons.lost;
  } catch (error) {
    if (!warm) throw error;
  }
  await daemons.stop();
  await sleep(RETRY);
}
