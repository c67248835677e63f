import { type Address, addressBytes, parseAddress } from '../../model/address.ts';
import type { Finding } from '../problem.ts';
import { milliseconds, parseArea } from '../scalars.ts';
import type { BgpSettings, OspfSettings } from '../schema.ts';
import { nobodyToCall } from './nobody.ts';
import { twice } from './twice.ts';

export function checkOspf(settings: OspfSettings): Finding[] {
  const findings: Finding[] = [];
  const names = new Set<string>();
  for (const [index, entry] of settings.interfaces.entries()) {
    const path = ['ospf', 'interfaces', index];
    findings.push(...twice(names, entry.name, [...path, 'name']));
    if (milliseconds(entry.dead) <= milliseconds(entry.hello)) {
      findings.push({
        path: [...path, 'dead'],
        message: `${entry.dead} is not longer than hello (${entry.hello})`,
        remedy: 'Write four times the hello interval, the same as the neighbour has.',
      });
    }
    if (settings.announce.as === 'nssa' && parseArea(entry.area) === '0.0.0.0') {
      findings.push({
        path: [...path, 'area'],
        message: "the backbone can't be an NSSA, but ospf.announce.as is nssa",
        remedy: 'Choose another area, or announce as external.',
      });
    }
  }
  return findings;
}

export function checkBgp(settings: BgpSettings): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<Address>();
  for (const [index, entry] of settings.neighbors.entries()) {
    const path = ['bgp', 'neighbors', index];
    const address = parseAddress(entry.address)!;
    findings.push(...twice(seen, address, [...path, 'address']));
    const what = nobodyToCall(address);
    if (what !== undefined) {
      findings.push({
        path: [...path, 'address'],
        message: `${address} is ${what}, and no router's`,
        remedy: "Write the neighbour's own address.",
      });
    }
    const hold = milliseconds(entry.timers.hold);
    if (hold !== 0 && hold < 3_000) {
      findings.push({
        path: [...path, 'timers', 'hold'],
        message: `${entry.timers.hold} is too short`,
        remedy: 'Write 3s or more, or 0s for none (RFC 4271 §4.2); for a quicker detection switch bfd on.',
      });
    }
    if (hold !== 0 && milliseconds(entry.timers.keepalive) >= hold) {
      findings.push({
        path: [...path, 'timers', 'keepalive'],
        message: `${entry.timers.keepalive} is not shorter than hold (${entry.timers.hold})`,
        remedy: 'Write a third of hold.',
      });
    }
    const local = entry.localAddress === undefined ? undefined : parseAddress(entry.localAddress)!;
    if (local && addressBytes(local).length !== addressBytes(address).length) {
      findings.push({
        path: [...path, 'localAddress'],
        message: `${local} is of another family than ${address}`,
        remedy: 'Write one of the same family.',
      });
    }
    if (local === address) {
      findings.push({
        path: [...path, 'localAddress'],
        message: `${local} is the neighbour's own address`,
        remedy: 'Write an address of this switch.',
      });
    }
    if (entry.ttlSecurity && entry.multihop) {
      findings.push({
        path: [...path, 'ttlSecurity'],
        message: 'ttlSecurity takes direct neighbours only, and this one is multihop',
        remedy: 'Remove one of the two.',
      });
    }
  }
  return findings;
}
