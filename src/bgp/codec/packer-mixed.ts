import type { Family } from '../../model/address.ts';
import { ATTRIBUTE, FLAG, writeAttribute } from './attributes.ts';
import { afiOf, HEADER_LENGTH, MAXIMUM_LENGTH, MESSAGE_TYPE, SAFI_UNICAST } from './messages.ts';
import type { Packed, Routed } from './packer.ts';
import { nlriLength, packAnnouncements, packWithdrawals } from './packer.ts';
import { Writer } from './writer.ts';

/** As `packer.ts`, for prefixes of any length; it does the work where all are hosts. */

const NOTHING = new Uint8Array(0);

export function packMixedWithdrawals(family: Family, routes: readonly Routed[]): Packed {
  if (allHosts(family, routes)) return packWithdrawals(family, routes);
  return pack(routes, HEADER_LENGTH + 4 + 7, (writer, nlri) => {
    if (family === 4) writer.u16(nlri.length).put(nlri).u16(0);
    else {
      writer.u16(0);
      sized(writer, () =>
        writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_UNREACH_NLRI, multiprotocol(family, NOTHING, nlri)),
      );
    }
  });
}

/** @see packAnnouncements */
export function packMixedAnnouncements(
  family: Family,
  attributes: Uint8Array,
  nextHop: Uint8Array,
  routes: readonly Routed[],
): Packed {
  if (allHosts(family, routes)) return packAnnouncements(family, attributes, nextHop, routes);
  const overhead = HEADER_LENGTH + 4 + (family === 4 ? 0 : 9 + nextHop.length) + attributes.length;
  return pack(routes, overhead, (writer, nlri) => {
    writer.u16(0);
    sized(writer, () => {
      if (family === 6) {
        const head = new Writer(34).u8(nextHop.length).put(nextHop).u8(0).done();
        writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_REACH_NLRI, multiprotocol(family, head, nlri));
      }
      writer.put(attributes);
    });
    if (family === 4) writer.put(nlri);
  });
}

const allHosts = (family: Family, routes: readonly Routed[]): boolean =>
  routes.every(({ nlri }) => nlri.length === nlriLength(family));

const multiprotocol = (family: Family, head: Uint8Array, nlri: Uint8Array): Uint8Array =>
  new Writer(nlri.length + 40).u16(afiOf(family)).u8(SAFI_UNICAST).put(head).put(nlri).done();

/** The two octets before say how many `write` wrote. */
function sized(writer: Writer, write: () => void): void {
  const at = writer.length;
  writer.u16(0);
  write();
  writer.patchU16(at, writer.length - at - 2);
}

/** `body` writes what follows the header of one UPDATE. */
function pack(routes: readonly Routed[], overhead: number, body: (writer: Writer, nlri: Uint8Array) => void): Packed {
  const writer = new Writer(MAXIMUM_LENGTH);
  let updates = 0;
  let nlri = new Writer(256);
  const flush = () => {
    const start = writer.length;
    for (let index = 0; index < 4; index++) writer.u32(0xffffffff);
    writer.u16(0).u8(MESSAGE_TYPE.UPDATE);
    body(writer, nlri.done());
    writer.patchU16(start + 16, writer.length - start);
    nlri = new Writer(256);
    updates++;
  };
  for (const route of routes) {
    if (nlri.length > 0 && overhead + nlri.length + route.nlri.length > MAXIMUM_LENGTH) flush();
    nlri.put(route.nlri);
  }
  if (nlri.length > 0) flush();
  return { bytes: writer.done(), updates };
}
