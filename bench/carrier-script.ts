/**
 * What an operator runs beside FRR today, for zebra leaves kernel routes alone when their port loses its carrier: a
 * script that deletes them then, all of a port in one message to the kernel.
 *
 * Arguments: network namespace
 */
import { decodeRoute, encodeRoute, Malformed, type Route, RTM, RTPROT } from 'rtnetlink-ts';
import { isUsable, listenLinks, listenRoutes, RequestSender } from '../lab/netlink.ts';

const [netns] = process.argv.slice(2) as [string];
const routes = new Map<string, { readonly route: Route; readonly ifindex: number }>();
const sender = new RequestSender(netns, (errno) => console.error(`route not deleted: errno ${errno}`));

listenRoutes(netns, (message) => {
  if (message.type !== RTM.NEWROUTE && message.type !== RTM.DELROUTE) return;
  const route = decodeRoute(message);
  if (route instanceof Malformed || route.protocol !== RTPROT.STATIC) return;
  const ifindex = route.nextHops[0]?.ifindex;
  if (message.type === RTM.DELROUTE || ifindex === undefined) routes.delete(route.destination);
  else routes.set(route.destination, { route, ifindex });
});

listenLinks(netns, (link, gone) => {
  if (!gone && isUsable(link)) return;
  let found = false;
  for (const { route, ifindex } of routes.values()) {
    if (ifindex !== link.ifindex) continue;
    sender.add(RTM.DELROUTE, 0, (writer) => encodeRoute(writer, route));
    found = true;
  }
  if (found) sender.flush();
});
