import type { Mac } from '../../model/address.ts';
import type { Host } from './host.ts';

/**
 * Which hosts have a MAC, the gone ones included, so that nothing has to be done here when a port with a thousand hosts
 * goes down. A list through the hosts themselves: mostly a MAC has one or two.
 */
export class Stations {
  readonly #first = new Map<Mac, Host>();

  /** Takes the host's present MAC in. */
  put(host: Host): void {
    if (host.station === host.mac) return;
    this.drop(host);
    const next = this.#first.get(host.mac);
    if (next) next.previousOfStation = host;
    host.nextOfStation = next;
    host.station = host.mac;
    this.#first.set(host.mac, host);
  }

  drop(host: Host): void {
    const { station, nextOfStation: next, previousOfStation: previous } = host;
    if (station === undefined) return;
    if (next) next.previousOfStation = previous;
    if (previous) previous.nextOfStation = next;
    else if (next) this.#first.set(station, next);
    else this.#first.delete(station);
    host.station = undefined;
    host.nextOfStation = undefined;
    host.previousOfStation = undefined;
  }

  *of(mac: Mac): Iterable<Host> {
    for (let host = this.#first.get(mac); host; host = host.nextOfStation) yield host;
  }
}
