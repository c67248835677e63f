import type { HostConfig } from '../../config/index.ts';
import { systemClock } from '../../model/clock.ts';
import { Kernel } from '../../netlink/index.ts';
import { KernelOverlayWatch } from '../../vswitch-bridge/slowpath/network/index.ts';
import type { ControlServer } from '../control/server.ts';
import type { Role, RoleOptions } from '../role.ts';
import type { FindOverlays } from './adoption.ts';
import { reload, serveHost } from './control.ts';
import { Host, type HostLoaded } from './host.ts';
import { HOST_PARTS } from './parts/index.ts';

/** A host of VMs or containers, on the machine as it is. */
export class HostRole implements Role {
  readonly #agent: Host;

  static async start({ loaded, log }: RoleOptions<HostConfig>): Promise<HostRole> {
    const kernel = await Kernel.open({ clock: systemClock, log });
    try {
      const find: FindOverlays = (onChange) => KernelOverlayWatch.open({ clock: systemClock, log, onChange });
      return new HostRole(await Host.start({ loaded, clock: systemClock, log, kernel, parts: HOST_PARTS, find }));
    } catch (error) {
      kernel.close();
      throw error;
    }
  }

  private constructor(agent: Host) {
    this.#agent = agent;
  }

  get loaded(): HostLoaded {
    return this.#agent.loaded;
  }

  get uptime(): number {
    return this.#agent.uptime;
  }

  serve(server: ControlServer): void {
    serveHost(server, this.#agent);
  }

  counters() {
    return this.#agent.counters();
  }

  gauges() {
    const { networks, instances, remotes } = this.#agent.table.state;
    const behind = this.#agent.parts.filter(({ follower, part }) => follower.refusal ?? part.problems?.()[0]).length;
    return {
      overlay_networks: networks.size,
      overlay_instances: instances.size,
      overlay_remotes: remotes.size,
      overlay_parts_behind: behind,
    };
  }

  reload() {
    return reload(this.#agent);
  }

  stop(): Promise<void> {
    return this.#agent.stop();
  }

  pause(): Promise<void> {
    return this.#agent.pause();
  }
}
