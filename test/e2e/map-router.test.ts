/** R4.8, R4.9 where our agent is the gateway itself: the same map, of its own routes. */
import { gatewayPeerless, startPeerlessGateway } from '../../lab/gateway/peerless.ts';
import { placeOf } from '../../lab/place.ts';
import { gone, signal } from '../../lab/processes.ts';
import { loadState, saveState } from '../../lab/state.ts';
import { TOR_NAMES } from '../../lab/topology/plan.ts';
import { mapCases } from './map-cases.ts';
import { MapWatcher } from './observer.ts';
import { Stand } from './stand.ts';

/** Started and ended with its lab; in between only when it is killed. */
class Router extends MapWatcher {
  async start(): Promise<void> {
    const state = loadState(this.stand.name);
    if (state.processes.some(({ name }) => name === 'G agent')) return;
    const directory = this.stand.directory('G');
    const configuration = gatewayPeerless(state.protocol, directory, { families: state.families });
    state.processes.push(...(await startPeerlessGateway(placeOf(state, 'G'), directory, configuration)));
    saveState(state);
  }

  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const state = loadState(this.stand.name);
    const agents = state.processes.filter((record) => record.name === 'G agent');
    for (const agent of agents) signal(agent, name);
    if (!(await gone(agents, 10_000))) throw new Error(`the gateway did not end at ${name}`);
    state.processes = state.processes.filter((record) => !agents.includes(record));
    saveState(state);
  }
}

mapCases(async () => {
  const stand = await Stand.up({ protocol: 'bgp', gateway: 'peerless' });
  for (const tor of TOR_NAMES) {
    stand.editConfig((config) => {
      config.name = tor;
    }, tor);
    await stand.signal('SIGHUP', tor);
  }
  await stand.untilHome();
  const observer = new Router(stand, 'control.sock');
  return { stand, observer };
});
