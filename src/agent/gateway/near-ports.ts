import type { GatewayMap } from '../../gateway/index.ts';
import { addressBytes, familyOf, makePrefix } from '../../model/address.ts';
import { isOpen, isUp, type Port, type PortChange } from '../../model/ports.ts';

/** Tells the map of the gateway's own ports: those that are there at the start, and what becomes of them. */
export function tellPorts(map: GatewayMap, ports: Iterable<Port>): void {
  const present = new Set<string>();
  for (const port of ports) {
    present.add(port.name);
    if (port.addresses.length > 0) tell(map, port.name, port);
  }
  for (const name of map.gatewayPorts()) if (!present.has(name)) tell(map, name, undefined);
}

export function tellPortChange(map: GatewayMap, { name, before, after }: PortChange): void {
  const concerns = (before?.addresses.length ?? 0) + (after?.addresses.length ?? 0) > 0;
  if (concerns) tell(map, name, after);
}

function tell(map: GatewayMap, name: string, port: Port | undefined): void {
  map.handle({ type: 'port', port: name, up: isUp(port), why: whyDown(name, port), prefixes: prefixesOf(port) });
}

function whyDown(name: string, port: Port | undefined): string {
  if (!port) return `${name} is gone`;
  if (!isOpen(port)) return `${name} was shut`;
  return port.carrier ? '' : `${name} lost carrier`;
}

function prefixesOf(port: Port | undefined) {
  return (port?.addresses ?? [])
    .filter(({ address, prefixLength }) => prefixLength < (familyOf(address) === 4 ? 32 : 128))
    .filter(({ address }) => !/^fe[89ab]/.test(address))
    .map(({ address, prefixLength }) => makePrefix(addressBytes(address), prefixLength));
}
