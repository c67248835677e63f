/**
 * Today's practice, part two: a link-tracking script. The uplink lost its carrier: the server ports are shut; it is
 * back: they are opened at once.
 *
 * Arguments: lab, ToR, uplink, downlink ...
 */
import { interfaceIndex, withNetns } from 'linux-sockets';
import { isUsable, LinkSetter, listenLinks } from '../netlink.ts';
import { namespaceOf, type TorName } from '../topology/plan.ts';

const [lab, tor, uplink, ...downlinks] = process.argv.slice(2) as [string, TorName, string, ...string[]];
const netns = namespaceOf(lab, tor);
const setter = new LinkSetter(netns, (errno) => console.error(`link refused: errno ${errno}`));
const { watched, followers } = withNetns(netns, () => ({
  watched: interfaceIndex(uplink),
  followers: downlinks.map(interfaceIndex),
}));
let last = true;

listenLinks(netns, (link, gone) => {
  if (link.ifindex !== watched) return;
  const up = !gone && isUsable(link);
  if (up === last) return;
  last = up;
  setter.apply(followers.map((ifindex) => ({ ifindex, up })));
});
