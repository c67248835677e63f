/** The agent's part in sonic.test.ts: ends when nothing is shut, all ports of its group are up, and so is the group. */
import { systemClock } from '../../../src/model/clock.ts';
import { isUp } from '../../../src/model/ports.ts';
import { Kernel } from '../../../src/netlink/index.ts';
import { openSonicPorts } from '../../../src/portlink/drivers/index.ts';
import { PortLinkDriver, PortLinkGroups } from '../../../src/portlink/index.ts';
import { group } from '../support.ts';

const [netns, redis, stateFile] = process.argv.slice(2) as [string, string, string];
const log = { debug() {}, info() {}, warn() {}, error: (_: object, message: string) => console.error(message) };
const kernel = await Kernel.open({ netns });
const ports = await openSonicPorts({ beneath: kernel, clock: systemClock, log, redis });
const downlinks = ['Ethernet4', 'Ethernet8', 'PortChannel1'];
const config = group({ uplinks: ['Ethernet0'], downlinks, startupDelay: 0, recoveryDelay: 600 });
const driver = new PortLinkDriver({
  groups: new PortLinkGroups([config], systemClock.now()),
  ports,
  links: ports,
  clock: systemClock,
  log,
  stateFile,
});
ports.onChange((change) => driver.portChanged(change));
driver.start([{ type: 'upstream', ready: true, reason: '' }]);
const asItShouldBe = () =>
  driver.groups.view('fabric')!.state === 'up' && downlinks.every((name) => isUp(ports.port(name)));
// A loss that the test is about to make must be seen before this life may end.
await new Promise((resolve) => setTimeout(resolve, 1000));
while (!asItShouldBe()) await new Promise((resolve) => setTimeout(resolve, 10));
await driver.stop();
ports.close();
kernel.close();
