/** The agent's part in crash.test.ts: a driver on real ports of a namespace that kills itself where it is told to. */
import { execFileSync } from 'node:child_process';
import { systemClock } from '../../src/model/clock.ts';
import type { Port } from '../../src/model/ports.ts';
import { PortLinkDriver, PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

const [netns, stateFile, mode] = process.argv.slice(2) as [string, string, string];
const die = () => process.kill(process.pid, 'SIGKILL');
const names = ['A0', 'A1', 'A2', 'A3'];

function read(name: string): Port {
  const flags = /<([^>]*)>/.exec(execFileSync('ip', ['-n', netns, 'link', 'show', name], { encoding: 'utf8' }))![1]!;
  const set = new Set(flags.split(','));
  const [adminUp, carrier] = [set.has('UP'), set.has('LOWER_UP')];
  return { name, ifindex: 1, mac: undefined, mtu: 1500, adminUp, carrier, master: 0, kind: undefined, addresses: [] };
}

const quiet = { debug() {}, info() {}, warn() {}, error: (_: object, message: string) => console.error(message) };
const config = group({ downlinks: ['A1', 'A2', 'A3'], startupDelay: 0, recoveryDelay: 50 });
const driver = new PortLinkDriver({
  groups: new PortLinkGroups([config], systemClock.now()),
  clock: systemClock,
  log: quiet,
  stateFile,
  links: { port: read, portByIndex: () => undefined, ports: () => names.map(read), onChange: () => () => undefined },
  ports: {
    async setAdmin(ports, up) {
      if (mode === 'before-batch') die();
      for (const port of ports) execFileSync('ip', ['-n', netns, 'link', 'set', port, up ? 'up' : 'down']);
      if (mode === 'after-batch') die();
      for (const port of ports) driver.portChanged({ name: port, before: undefined, after: read(port), at: 0 });
    },
  },
});
driver.start();
driver.handle({ type: 'upstream', ready: true, reason: '' });
if (mode === 'after-snapshot') {
  await driver.settled();
  die();
}
const deadline = systemClock.now() + 30_000;
while (driver.groups.view('fabric')!.state !== 'up' && systemClock.now() < deadline) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
await driver.stop();
