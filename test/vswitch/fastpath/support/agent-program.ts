/** An agent with nothing but the fast path, in a process that can be killed. `argv`: namespace, state as JSON. */
import { systemClock } from '../../../../src/model/clock.ts';
import type { OverlayState } from '../../../../src/model/overlay.ts';
import { Kernel } from '../../../../src/netlink/index.ts';
import { openFastPath } from '../../../../src/vswitch-bridge/fastpath/index.ts';
import { SETTINGS } from './box.ts';

const [netns, text] = process.argv.slice(2) as [string, string];
const maps = new Set(['networks', 'instances', 'remotes', 'services']);
const state = JSON.parse(text, (key, value) => (maps.has(key) ? new Map(value) : value)) as OverlayState;
const kernel = await Kernel.open({ netns });
const fastPath = await openFastPath({
  settings: SETTINGS,
  state,
  links: kernel,
  rtnetlink: kernel.rtnetlink,
  routes: await kernel.watchRoutes(),
  clock: systemClock,
  netns,
  connections: 4096,
});
process.send?.({ adopted: fastPath.status().adopted, problems: fastPath.status().problems });
process.on('message', async () => {
  await fastPath.close({ keep: false });
  process.exit(0);
});
