import type { TorConfig } from '../../config/index.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { Kernel } from '../../netlink/index.ts';
import { isSonic, openSonicPorts, type SonicPorts } from '../../portlink/drivers/index.ts';
import { anyBlind } from './sight.ts';
import type { SwitchKernel } from './surroundings.ts';

interface KernelNeeds {
  readonly config: TorConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** Name in /run/netns or absolute path; absent in production. */
  readonly netns?: string;
}

/**
 * The kernel, and on a SONiC switch its ports as SONiC's databases say. There it waits until Redis answers and the
 * ports are made.
 */
export async function openKernel({ config, clock, log, netns }: KernelNeeds): Promise<SwitchKernel> {
  const { driver, redis, method, protodownReason } = config.ports;
  const where = netns === undefined ? {} : { netns };
  const kernel = await Kernel.open({ clock, log, shutting: { method, protodownReason }, ...where });
  try {
    const sonic = driver === 'sonic' || (driver === 'auto' && (await isSonic({ socket: redis })));
    if (!sonic) return kernel;
    log.info({ redis }, 'ports are shut and opened through SONiC');
    return withPorts(kernel, await openSonicPorts({ beneath: kernel, clock, log, redis }));
  } catch (error) {
    kernel.close();
    throw error;
  }
}

function withPorts(kernel: Kernel, ports: SonicPorts): SwitchKernel {
  return {
    neighbours: kernel.neighbours,
    fdb: kernel.fdb,
    port: (name) => ports.port(name),
    portByIndex: (ifindex) => ports.portByIndex(ifindex),
    ports: () => ports.ports(),
    onChange: (listener) => ports.onChange(listener),
    onBlind: anyBlind(
      (listener) => kernel.onBlind(listener),
      (listener) => ports.onBlind(listener),
    ),
    isShut: (name) => ports.isShut(name),
    lldp: { look: () => ports.lldp(), close: () => undefined },
    setAdmin: (names, up) => ports.setAdmin(names, up),
    watchCarriers: (names) => kernel.watchCarriers(names),
    hostRoutes: (options) => kernel.hostRoutes(options),
    learnedRoutes: (options) => kernel.learnedRoutes(options),
    gatewaysVia: (ifindex) => kernel.gatewaysVia(ifindex),
    logins: (also, placeOf) => kernel.logins(also, placeOf),
    waitingRoom: (onArrival) => kernel.waitingRoom(onArrival),
    fabricRules: (options) => kernel.fabricRules(options),
    contestedRules: () => kernel.contestedRules(),
    shadowTable: (options) => kernel.shadowTable(options),
    repairPath: (options) => kernel.repairPath(options),
    keepAddresses: (memory) => kernel.keepAddresses(memory),
    removeRepair: (protocol, memory) => kernel.removeRepair(protocol, memory),
    removeShadows: (protocol) => kernel.removeShadows(protocol),
    handoffTable: (options) => kernel.handoffTable(options),
    watchRoutes: () => kernel.watchRoutes(),
    removeStrays: (belongings) => kernel.removeStrays(belongings),
    counters: () => ({
      ...kernel.counters(),
      ...Object.fromEntries(Object.entries(ports.counters).map(([name, value]) => [`sonic.${name}`, value])),
    }),
    close: () => {
      ports.close();
      kernel.close();
    },
  };
}
