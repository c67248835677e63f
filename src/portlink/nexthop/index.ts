/** `upWhen: [nexthop]`: are the next hops behind an uplink alive? machine.ts says how they are asked and judged. */
export { type Asked, NextHopDriver, type NextHopDriverOptions, type OpenUplink, type SeenStore } from './driver.ts';
export { MOST_HOPS, type SeenHop } from './machine.ts';
