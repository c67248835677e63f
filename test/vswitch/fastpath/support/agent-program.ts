/**
 * An agent with nothing but the fast path, in a process that can be killed. `argv`: namespace, state as JSON, what differs
 * from `SETTINGS` as JSON, connections. Told `again` it leaves everything and goes on with it, as after a restart; `anew`: it
 * leaves nothing, and begins; `forget`: what it has left is taken away, and it begins, and nobody was told; `end`.
 */
import { systemClock } from '../../../../src/model/clock.ts';
import type { OverlayState } from '../../../../src/model/overlay.ts';
import { Kernel } from '../../../../src/netlink/index.ts';
import { openFastPath, removeFastPath } from '../../../../src/vswitch-bridge/fastpath/index.ts';
import { SETTINGS } from './box.ts';

const [netns, text, more = '{}', connections = '4096'] = process.argv.slice(2) as [string, string, string?, string?];
const maps = new Set(['networks', 'instances', 'remotes', 'services']);
const state = JSON.parse(text, (key, value) => (maps.has(key) ? new Map(value) : value)) as OverlayState;
const kernel = await Kernel.open({ netns });
const routes = await kernel.watchRoutes();
const open = () =>
  openFastPath({
    settings: { ...SETTINGS, ...JSON.parse(more) },
    state,
    links: kernel,
    rtnetlink: kernel.rtnetlink,
    routes,
    clock: systemClock,
    netns,
    connections: Number(connections),
  });
let fastPath = await open();
const tell = () => process.send?.({ adopted: fastPath.status().adopted, problems: fastPath.status().problems });
tell();
process.on('message', async (what: 'end' | 'again' | 'anew' | 'forget') => {
  await fastPath.close({ keep: what === 'again' || what === 'forget' });
  if (what === 'end') process.exit(0);
  if (what === 'forget') removeFastPath({ netns });
  fastPath = await open();
  tell();
});
