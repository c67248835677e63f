/** One switch: what outlives its agent, and the agent. */
import type { SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import type { TorSwitch } from '../../src/agent/tor/switch.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import { Box } from './box.ts';
import type { Fate } from './calls.ts';
import type { LifeClock, VirtualClock } from './clock.ts';
import { Disk } from './disk.ts';
import type { KernelFace } from './face.ts';
import type { Random } from './random.ts';
import { linksOf, type Scene, SLOTS } from './scene.ts';
import type { Side } from './server.ts';
import { Sonic } from './sonic.ts';
import { GATEWAY_4, GATEWAY_6 } from './speech.ts';

/** One life of an agent. */
export interface Life {
  readonly clock: LifeClock;
  readonly face: KernelFace;
  /** What its agent has: the face, or SONiC's ports before it. */
  kernel: SwitchKernel;
  agent: TorSwitch | undefined;
  readonly bornAt: number;
  /** It was told to begin with all ports shut. */
  readonly heldAtBoot: boolean;
  stopping: boolean;
}

export interface Tor {
  readonly side: Side;
  /** Absent where the box is plain Linux. */
  readonly sonic: Sonic | undefined;
  readonly box: Box;
  readonly disk: Disk;
  readonly fate: Fate;
  /** Uplinks on which packets vanish, and no carrier tells. */
  readonly silent: Set<number>;
  powered: boolean;
  life: Life | undefined;
  /** So many calls until the agent dies in the midst of one. */
  doom: number | undefined;
  /** Why a cable is broken now. */
  readonly broken: Map<string, Set<string>>;
}

export interface TorOptions {
  readonly side: Side;
  readonly scene: Scene;
  readonly fate: Fate;
  readonly clock: VirtualClock;
  readonly random: Random;
  onLink(name: string): void;
  violation(what: string): void;
}

export function makeTor(options: TorOptions): Tor {
  const { side, scene, fate, clock, random } = options;
  const box: Box = new Box(side, side === 'A' ? 100 : 200, (name) => {
    sonic?.linkChanged(name);
    options.onLink(name);
  });
  let sonic: Sonic | undefined;
  const mac = (last: number): Mac => `02:aa:00:00:0${side === 'A' ? 1 : 2}:0${last}` as Mac;
  for (const { slot, local, local6, ...link } of linksOf(scene)) {
    if (link.side !== side) continue;
    const six = scene.six ? [{ address: local6 as Address, prefixLength: 64 }] : [];
    box.addPort(link.name, mac(slot), [{ address: local as Address, prefixLength: 30 }, ...six]);
  }
  const gateway = [
    { address: GATEWAY_4, prefixLength: 24 },
    ...(scene.six ? [{ address: GATEWAY_6, prefixLength: 64 }] : []),
  ];
  // Every port answers for the gateway; on a bridge it is the bridge that does.
  const bridge = scene.bridged ? box.addPort(`${side}br`, mac(8), gateway, { kind: 'bridge' }) : undefined;
  const member = bridge ? { master: bridge.ifindex } : {};
  for (const slot of SLOTS) box.addPort(`${side}${slot}`, mac(slot), bridge ? [] : gateway, member);
  const names = [...scene.uplinks, ...SLOTS].map((slot) => `${side}${slot}`);
  if (scene.sonic) sonic = new Sonic({ box, clock, random, names, violation: (what) => options.violation(what) });
  return {
    side,
    sonic,
    box,
    disk: new Disk(),
    fate,
    silent: new Set(),
    powered: true,
    life: undefined,
    doom: undefined,
    broken: new Map(),
  };
}
