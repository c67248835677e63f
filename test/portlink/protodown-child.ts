/** The agent's part in protodown.test.ts: the Linux driver on real ports; ends when its group is up and nothing is shut. */
import { systemClock } from '../../src/model/clock.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { PortLinkDriver, PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

const [netns, stateFile] = process.argv.slice(2) as [string, string];
const kernel = await Kernel.open({ netns });
const config = group({ downlinks: ['A1', 'A2'], startupDelay: 0, recoveryDelay: 50 });
const driver = new PortLinkDriver({
  groups: new PortLinkGroups([config], systemClock.now()),
  ports: kernel,
  links: kernel,
  clock: systemClock,
  log: { debug() {}, info() {}, warn() {}, error: (_, message) => console.error(message) },
  stateFile,
});
kernel.onChange((change) => driver.portChanged(change));
driver.start([{ type: 'upstream', ready: true, reason: '' }]);
while (driver.groups.view('fabric')!.state !== 'up') await new Promise((resolve) => setTimeout(resolve, 10));
await driver.stop();
kernel.close();
