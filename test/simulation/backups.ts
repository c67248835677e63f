/** The kernel's side of the repair path, and what must hold of it whatever befalls. */
import { MARGIN, type RepairKernel } from '../../src/agent/tor/repair/index.ts';
import type { Address } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { LifeClock } from './clock.ts';
import { SIDES, type Side } from './server.ts';
import type { World } from './world.ts';

/** shadow.hold */
const HOLD = 3_000;
/** It is looked at every 50 or 250 ms. */
const SLACK = 600;

/** What outlives the agent: its backups, and what leaves the tunnel. */
export class Backups {
  /** Whose tunnel each leads into. */
  readonly routes = new Map<string, string>();
  readonly exit = new Set<string>();
  /** When a host was one of this switch last. */
  readonly lastOurs = new Map<string, number>();

  /** When the present life took over what was there. */
  takenOverAt = 0;

  /** The box has lost power. */
  lost(): void {
    this.routes.clear();
    this.exit.clear();
  }

  /** One life's face of it. */
  face(clock: LifeClock): RepairKernel {
    this.takenOverAt = clock.now();
    const { routes, exit, lastOurs } = this;
    const tunnels = new Set<string>();
    const wanted = new Map<string, string | undefined>();
    const act = (work: () => void): void => {
      if (!clock.dead) work();
    };
    const hold = (hosts: readonly HostRoute[]): void => {
      for (const { address } of hosts) {
        exit.add(address);
        lastOurs.set(address, clock.now());
      }
    };
    return {
      adopted: [...routes.keys()].map((address) => address as Address),
      hosts: {
        apply: ({ withdrawn, announced }) => {
          act(() => {
            for (const address of withdrawn) if (exit.delete(address)) lastOurs.set(address, clock.now());
            hold(announced);
          });
          return { packets: 0 };
        },
        reconcile: async (hosts) => {
          const all = [...hosts];
          act(() => {
            exit.clear();
            hold(all);
          });
          return { kept: 0, added: all.length, removed: 0, failed: 0 };
        },
      },
      setTunnel: (twin) => {
        tunnels.add(twin);
        return true;
      },
      install: ({ address }, twin) => void wanted.set(address, twin),
      remove: (address) => void wanted.set(address, undefined),
      flush: () =>
        act(() => {
          for (const [address, twin] of wanted) {
            if (twin === undefined) routes.delete(address);
            else if (tunnels.has(twin)) routes.set(address, twin);
          }
          wanted.clear();
        }),
      has: (address) => routes.has(address),
      counters: () => ({}),
      leave: async () => act(() => this.lost()),
      close: () => {},
    };
  }
}

/** A backup of a host that is none of this switch any more is there for as long as a gateway may take to notice, no longer. */
export function backupsOf(world: World, side: Side): void {
  const { box, life } = world.tors[side];
  if (!life?.agent || life.stopping) return;
  const now = world.clock.now();
  const { routes, exit, lastOurs, takenOverAt } = box.backups;
  for (const address of routes.keys()) {
    if (exit.has(address)) continue;
    const since = Math.max(lastOurs.get(address) ?? 0, takenOverAt);
    if (now - since > HOLD + MARGIN + SLACK)
      world.violation(`${side} has a backup for ${address}, which has left it ${(now - since).toFixed(0)} ms ago`);
  }
}

/** When all is well each host has a backup at the other switch, if that says where it is. */
export function backupsAtTheEnd(world: World): void {
  for (const side of SIDES) {
    const other = side === 'A' ? 'B' : 'A';
    const real = (which: Side) => world.tors[which].life!.agent!.hosts.announced().filter(({ shadow }) => !shadow);
    const { routes } = world.tors[side].box.backups;
    const ours = new Set<string>(real(side).map(({ address }) => address));
    for (const address of routes.keys()) {
      if (!ours.has(address)) world.violation(`${side} still has a backup for ${address}`);
    }
    // A gateway that shows nothing but the best route shows a switch none of the other's shadows. And a switch on which
    // nothing can wait stands by for nobody.
    const all = world.tors[other].life!.agent!.hosts.announced();
    if ((world.scene.protocol === 'bgp' ? real(other) : all).length === 0) continue;
    for (const address of ours) if (!routes.has(address)) world.violation(`${side} has no backup for ${address}`);
  }
}
