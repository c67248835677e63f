import type { BgpError } from './errors.ts';
import { bgpError, CODE, OPEN } from './errors.ts';
import type { Capability, GracefulRestartCapability } from './messages.ts';
import { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/** RFC 5492 §4 and the registry of capability codes. */
const CAPABILITY = { multiprotocol: 1, routeRefresh: 2, gracefulRestart: 64, fourOctetAs: 65, role: 239 } as const;
/** Version 1, and the one role there is. */
const ROLE_VERSION = 1;
const ROLE_OBSERVER = 1;
const PARAMETER_CAPABILITIES = 2;
/** RFC 9072 §2: in place of the first parameter's type, says that lengths have two octets. */
const PARAMETER_EXTENDED = 255;

const malformed = (reason: string): BgpError => bgpError(CODE.open, OPEN.unspecific, reason);

/** Optional parameters of an OPEN, the octet of their length included. */
export function readOptionalParameters(reader: Reader): Capability[] | BgpError {
  let length = reader.u8();
  let extended = false;
  if (length !== 0 && reader.remaining > 0 && reader.bytes[reader.offset] === PARAMETER_EXTENDED) {
    reader.u8();
    length = reader.u16();
    extended = true;
  }
  if (reader.overrun || length !== reader.remaining) return malformed('open_parameters_length');
  const capabilities: Capability[] = [];
  while (reader.remaining > 0) {
    const type = reader.u8();
    const value = reader.take(extended ? reader.u16() : reader.u8());
    if (reader.overrun) return malformed('open_parameters_length');
    if (type !== PARAMETER_CAPABILITIES)
      return bgpError(CODE.open, OPEN.unsupportedParameter, 'open_parameter_unsupported');
    const inner = new Reader(value);
    while (inner.remaining > 0) {
      const code = inner.u8();
      const body = inner.take(inner.u8());
      if (inner.overrun) return malformed('open_capability_length');
      capabilities.push(readCapability(code, body));
    }
  }
  return capabilities;
}

/** A capability we know whose length is wrong is kept as unknown: RFC 5492 §3 asks no one to drop the session for it. */
function readCapability(code: number, value: Uint8Array): Capability {
  const reader = new Reader(value);
  if (code === CAPABILITY.multiprotocol && value.length === 4) {
    const afi = reader.u16();
    reader.u8();
    return { code: 'multiprotocol', afi, safi: reader.u8() };
  }
  if (code === CAPABILITY.routeRefresh && value.length === 0) return { code: 'route-refresh' };
  if (code === CAPABILITY.fourOctetAs && value.length === 4) return { code: 'four-octet-as', asn: reader.u32() };
  if (code === CAPABILITY.gracefulRestart && value.length >= 2 && (value.length - 2) % 4 === 0) {
    return readGracefulRestart(reader);
  }
  if (code === CAPABILITY.role && value.length >= 2 && value[0] === ROLE_VERSION && value[1] === ROLE_OBSERVER) {
    return { code: 'observer' };
  }
  return { code: 'unknown', number: code, value: Uint8Array.from(value) };
}

function readGracefulRestart(reader: Reader): GracefulRestartCapability {
  const head = reader.u16();
  const families: { afi: number; safi: number; forwarding: boolean }[] = [];
  while (reader.remaining > 0) {
    families.push({ afi: reader.u16(), safi: reader.u8(), forwarding: (reader.u8() & 0x80) !== 0 });
  }
  return { code: 'graceful-restart', restarting: (head & 0x8000) !== 0, restartTime: head & 0x0fff, families };
}

/** All in one parameter (RFC 5492 §4), in RFC 9072's form only when it would not fit otherwise. */
export function writeOptionalParameters(writer: Writer, capabilities: readonly Capability[]): void {
  const inner = new Writer();
  for (const capability of capabilities) writeCapability(inner, capability);
  const value = inner.done();
  if (value.length === 0) writer.u8(0);
  else if (value.length <= 253)
    writer
      .u8(value.length + 2)
      .u8(PARAMETER_CAPABILITIES)
      .u8(value.length)
      .put(value);
  else {
    writer
      .u8(255)
      .u8(PARAMETER_EXTENDED)
      .u16(value.length + 3);
    writer.u8(PARAMETER_CAPABILITIES).u16(value.length).put(value);
  }
}

function writeCapability(writer: Writer, capability: Capability): void {
  switch (capability.code) {
    case 'multiprotocol':
      writer.u8(CAPABILITY.multiprotocol).u8(4).u16(capability.afi).u8(0).u8(capability.safi);
      break;
    case 'route-refresh':
      writer.u8(CAPABILITY.routeRefresh).u8(0);
      break;
    case 'four-octet-as':
      writer.u8(CAPABILITY.fourOctetAs).u8(4).u32(capability.asn);
      break;
    case 'graceful-restart':
      writer.u8(CAPABILITY.gracefulRestart).u8(2 + capability.families.length * 4);
      writer.u16((capability.restarting ? 0x8000 : 0) | capability.restartTime);
      for (const family of capability.families) {
        writer
          .u16(family.afi)
          .u8(family.safi)
          .u8(family.forwarding ? 0x80 : 0);
      }
      break;
    case 'observer':
      writer.u8(CAPABILITY.role).u8(2).u8(ROLE_VERSION).u8(ROLE_OBSERVER);
      break;
    case 'unknown':
      writer.u8(capability.number).u8(capability.value.length).put(capability.value);
      break;
  }
}
