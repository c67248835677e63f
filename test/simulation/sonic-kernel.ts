import type { SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import type { SonicPorts } from '../../src/portlink/drivers/sonic/ports.ts';
import type { KernelFace } from './face.ts';

/** The kernel with SONiC's ports before it, as `openKernel` of the agent puts them together. */
export function sonicKernel(
  face: KernelFace,
  ports: SonicPorts,
  asked: (names: readonly string[], up: boolean) => void,
): SwitchKernel {
  return {
    neighbours: face.neighbours,
    fdb: face.fdb,
    port: (name) => ports.port(name),
    portByIndex: (ifindex) => ports.portByIndex(ifindex),
    ports: () => ports.ports(),
    onChange: (listener) => ports.onChange(listener),
    onBlind: (listener) => ports.onBlind(listener),
    setAdmin: (names, up) => {
      asked(names, up);
      return ports.setAdmin(names, up);
    },
    watchCarriers: () => {},
    hostRoutes: (options) => face.hostRoutes(options),
    learnedRoutes: (options) => face.learnedRoutes(options),
    waitingRoom: (onArrival) => face.waitingRoom(onArrival),
    fabricRules: (options) => face.fabricRules(options),
    shadowTable: () => face.shadowTable(),
    removeShadows: () => face.removeShadows(),
    repairPath: () => face.repairPath(),
    counters: () => ({}),
    close: () => {
      ports.close();
      face.close();
    },
  };
}
