/** Everything was whole for long: the story must have come to its good end. */
import { prefixAddress } from '../../src/model/address.ts';
import { backupsAtTheEnd } from './backups.ts';
import { hostPrefix } from './invariants.ts';
import { SLOTS } from './scene.ts';
import { SIDES, type Side } from './server.ts';
import type { World } from './world.ts';

export function quietEnd(world: World): void {
  for (const side of SIDES) {
    if (!world.tors[side].life?.agent) {
      world.violation(`${side} has no agent at the end`);
      continue;
    }
    addressesOf(world, side);
    announcementsOf(world, side);
    portsOf(world, side);
    drainOf(world, side);
  }
  if (world.scene.repair && world.violations.length === 0) backupsAtTheEnd(world);
}

const isHost = (address: string): boolean => address.startsWith('10.10.10.') || address.startsWith('2001:db8:10:');

function addressesOf(world: World, side: Side): void {
  const { box, life } = world.tors[side];
  const routes = box.hostRoutes(life!.agent!.loaded.config.kernel.protocol);
  for (const vm of world.vms) {
    if (!isHost(vm.address) || !world.places(vm.address).has(side)) continue;
    const leads = world.gateway.leadsTo(hostPrefix(vm.address));
    if (leads.length !== 1 || leads[0] !== side)
      world.violation(`G sends ${vm.address} to ${leads.join(' and ') || 'nobody'}, not to ${side}`);
    const interfaceName = world.scene.bridged ? `${side}br` : `${side}${vm.server.slot}`;
    if (routes.get(vm.address) !== interfaceName)
      world.violation(`${side} routes ${vm.address} to ${routes.get(vm.address)}, not to ${interfaceName}`);
  }
}

function announcementsOf(world: World, side: Side): void {
  const { box, life } = world.tors[side];
  const agent = life!.agent!;
  const { protocol } = agent.loaded.config.kernel;
  const routesOf = (shadows: boolean) => agent.hosts.announced().filter(({ shadow = false }) => shadow === shadows);
  const announced = new Map(routesOf(false).map((route) => [route.address as string, route]));
  const other = side === 'A' ? 'B' : 'A';
  for (const { address } of routesOf(true)) {
    if (!world.places(address).has(other)) world.violation(`${side} stands by for ${address}, which ${other} has not`);
    if (!box.shadows.has(address)) world.violation(`packets for ${address} do not wait at ${side}`);
  }
  for (const group of box.shadows.turned())
    world.violation(`packets for whoever was behind ${group} never wait at ${side}`);
  for (const address of box.shadows.addresses())
    if (!routesOf(true).some((route) => route.address === address))
      world.violation(`packets for ${address} wait at ${side} for ever`);
  const routes = box.hostRoutes(protocol);
  const believed = world.gateway.believed(side);
  for (const [prefix, level] of believed) {
    const address = prefixAddress(prefix);
    if (!world.places(address).has(side)) world.violation(`${side} announces ${address}, which is not there`);
    if (!announced.has(address)) world.violation(`G has ${address} from ${side}, which does not announce it`);
    if (level !== 0) world.violation(`the claim of ${side} to ${address} has not settled`);
  }
  for (const [address, route] of announced) {
    if (!believed.has(hostPrefix(address))) world.violation(`${side} announces ${address}, G has not got it`);
    if (routes.get(address) !== route.interface) world.violation(`${side} has no kernel route for ${address}`);
    if (route.level !== 0) world.violation(`${side} claims ${address} at level ${route.level}`);
  }
  for (const [address, port] of routes)
    if (!announced.has(address)) world.violation(`${side} still has a kernel route for ${address} to ${port}`);
  for (const entry of box.neighbours.values())
    if (entry.protocol === protocol && !announced.has(entry.destination!))
      world.violation(`${side} still has a neighbour entry for ${entry.destination}`);
}

function portsOf(world: World, side: Side): void {
  for (const slot of [...SLOTS, ...world.scene.uplinks]) {
    const port = world.port(side, slot);
    if (port.adminUp === port.operator) world.violation(`${port.name} is ${port.adminUp ? 'open' : 'shut'}`);
  }
  for (const view of world.tors[side].life!.agent!.groups.views())
    if (view.state !== 'up') world.violation(`group ${view.name} of ${side} is ${view.state}: ${view.reason}`);
}

function drainOf(world: World, side: Side): void {
  const { phase, preference, reason } = world.tors[side].life!.agent!.drain.view();
  if (phase !== 'none' || preference !== 'normal')
    world.violation(`the drain of ${side} is ${phase}, its preference ${preference}: ${reason}`);
}
