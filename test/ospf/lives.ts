/** What a router leaves behind, and its next life. */
import type { Clock } from '../../src/model/clock.ts';
import { decodeMemory, type Kept } from '../../src/ospf/codec/memory.ts';
import { Memory } from '../../src/ospf/memory.ts';
import { memoryInRam, quiet } from './memory-store.ts';
import { ip, type Router, type RouterOptions, type World } from './simulation.ts';

export function keptBy(router: Router, world: World): Kept {
  const clock: Clock = { now: () => world.now, schedule: () => ({ cancel() {} }) };
  const store = memoryInRam();
  const { core } = router.machine;
  const memory = new Memory({ store, routerId: core.routerId, clock, log: quiet, core, count() {} });
  memory.begin();
  memory.leave();
  const decoded = decodeMemory(store.read()!);
  if (!decoded.ok) throw new Error(decoded.detail);
  return decoded.value;
}

/** The next life of a router that died: same id, same place, with what was kept. */
export function nextLife(world: World, dead: Router, kept: Kept | undefined, options: RouterOptions = {}): Router {
  const again = world.router(dead.name, idText(dead), dead.attachments, options);
  if (kept) {
    const links = new Map(
      dead.attachments.map(({ address, prefixLength, mtu }, index) => [
        `i${index}`,
        { ifindex: index + 1, mtu: mtu ?? 1500, address: ip(address), prefixLength },
      ]),
    );
    again.handle({ kind: 'resume', kept, links, graceUntil: kept.pulse.graceUntil });
  }
  return again;
}

const idText = ({ id }: Router): string => [24, 16, 8, 0].map((shift) => (id >>> shift) & 255).join('.');
