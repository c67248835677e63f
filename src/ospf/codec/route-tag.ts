/**
 * The External Route Tag of a host: 0x5 in bits 31..28, bit 27 says that it is a shadow, bits 23..0 are the ifindex of the
 * port (0: it does not fit); the others are 0, and are not looked at. Routers carry the tag as it is, also from type 7 to type 5, and nothing is decided by it.
 */
import type { U32 } from 'node-ospf-lsa';

const OURS = 0x5;
const SHADOW = 0x08000000;
const INDEX = 0xffffff;

export interface RouteTag {
  /** undefined: not said. */
  readonly portIndex: number | undefined;
  readonly shadow: boolean;
}

export function encodeRouteTag({ portIndex = 0, shadow }: RouteTag): U32 {
  const index = portIndex > INDEX ? 0 : portIndex;
  return ((OURS << 28) | (shadow ? SHADOW : 0) | index) >>> 0;
}

/** undefined: somebody else's tag, or none. */
export function decodeRouteTag(tag: U32): RouteTag | undefined {
  if (tag >>> 28 !== OURS) return undefined;
  return { portIndex: tag & INDEX || undefined, shadow: (tag & SHADOW) !== 0 };
}
