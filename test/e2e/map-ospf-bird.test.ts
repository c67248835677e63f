/** R4.8, R4.9 by OSPF: our observer is one more router, at the other end of a veth pair inside G, whose daemon is BIRD. */
import { mapCases } from './map-cases.ts';
import { observerByOspf } from './observer.ts';
import { Stand } from './stand.ts';

mapCases(async () => {
  const stand = await Stand.up({ protocol: 'ospf', gateway: 'bird' });
  await stand.untilHome();
  const observer = await observerByOspf(stand, 'bird');
  await observer.start();
  return { stand, observer };
});
