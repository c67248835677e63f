/** R4.8, R4.9 beside an FRR that knows nothing of it, by BGP: our observer has a session of its own with each ToR. */
import { mapCases } from './map-cases.ts';
import { observerByBgp } from './observer.ts';
import { Stand } from './stand.ts';

mapCases(async () => {
  const stand = await Stand.up({ protocol: 'bgp', gateway: 'frr' });
  await stand.untilHome();
  const observer = await observerByBgp(stand);
  await observer.start();
  return { stand, observer };
});
