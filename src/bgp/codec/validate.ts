import type { Address } from '../../model/address.ts';
import { addressBytes } from '../../model/address.ts';
import type { WireAttributes } from './attributes.ts';
import { ATTRIBUTE } from './attributes.ts';
import { UPDATE } from './errors.ts';
import type { AsSegment, PathAttributes, Problem } from './messages.ts';
import { AS_TRANS } from './messages.ts';

/** What must hold of the attributes of an UPDATE with reachable routes, beyond each being well formed. */
export function validateAttributes(
  attributes: PathAttributes,
  context: { readonly external: boolean; readonly remoteAs: number },
  classic: boolean,
): Problem[] {
  const problems: Problem[] = [];
  const withdraw = (reason: string, subcode: number, data = new Uint8Array(0)) =>
    problems.push({ treatment: 'treat-as-withdraw', reason, subcode, data });
  const missing = (name: string, type: number) =>
    withdraw(`attribute_${name}_missing`, UPDATE.missingWellKnown, Uint8Array.of(type));

  // RFC 7606 §3 (d).
  if (attributes.origin === undefined) missing('origin', ATTRIBUTE.ORIGIN);
  if (attributes.asPath === undefined) missing('as_path', ATTRIBUTE.AS_PATH);
  else if (context.external) {
    // RFC 4271 §6.3: the neighbour's own AS comes first; RFC 5065 §5.3: no confederation segments from outside.
    const first = attributes.asPath[0];
    if (first?.type !== 'AS_SEQUENCE' || first.asns[0] !== context.remoteAs) {
      withdraw('as_path_first_as', UPDATE.malformedAsPath);
    }
    if (attributes.asPath.some((segment) => segment.type.startsWith('AS_CONFED'))) {
      withdraw('as_path_confederation', UPDATE.malformedAsPath);
    }
  }
  // RFC 7607 §2.
  if (attributes.asPath?.some((segment) => segment.asns.includes(0))) {
    withdraw('as_path_as_zero', UPDATE.malformedAsPath);
  }
  if (classic && attributes.nextHop === undefined) missing('next_hop', ATTRIBUTE.NEXT_HOP);
  else if (classic && !isHostAddress(attributes.nextHop!)) {
    withdraw('next_hop_invalid', UPDATE.invalidNextHop);
  }
  return problems;
}

/** RFC 4271 §6.3: syntactically an IP host address. */
function isHostAddress(address: Address): boolean {
  const first = addressBytes(address)[0]!;
  return first !== 0 && first !== 127 && first < 224;
}

/** RFC 6793 §4.2.3: the path as it was before a two-octet speaker shortened its numbers. */
export function mergeFourOctet(attributes: WireAttributes, fourOctetAs: boolean): void {
  const { as4Path, as4Aggregator, aggregator, asPath } = attributes;
  delete attributes.as4Path;
  delete attributes.as4Aggregator;
  if (fourOctetAs) return;
  // An aggregator that did not need four octets came after those attributes were made.
  if (aggregator && aggregator.asn !== AS_TRANS) return;
  if (aggregator && as4Aggregator) attributes.aggregator = as4Aggregator;
  if (!as4Path || !asPath) return;
  const surplus = pathLength(asPath) - pathLength(as4Path);
  if (surplus < 0) return;
  attributes.asPath = mergeSegments([...leading(asPath, surplus), ...as4Path]);
}

/** RFC 4271 §9.1.2.2 (a): an AS_SET counts as one; RFC 5065 §5.3: confederation segments don't count. */
export function pathLength(path: readonly AsSegment[]): number {
  let length = 0;
  for (const segment of path) {
    if (segment.type === 'AS_SEQUENCE') length += segment.asns.length;
    else if (segment.type === 'AS_SET') length += 1;
  }
  return length;
}

function leading(path: readonly AsSegment[], count: number): AsSegment[] {
  const taken: AsSegment[] = [];
  let left = count;
  for (const segment of path) {
    if (left <= 0) break;
    if (segment.type === 'AS_SEQUENCE') {
      taken.push({ type: segment.type, asns: segment.asns.slice(0, left) });
      left -= segment.asns.length;
    } else {
      taken.push(segment);
      if (segment.type === 'AS_SET') left -= 1;
    }
  }
  return taken;
}

function mergeSegments(path: readonly AsSegment[]): AsSegment[] {
  const merged: AsSegment[] = [];
  for (const segment of path) {
    const last = merged.at(-1);
    const joins = last?.type === 'AS_SEQUENCE' && segment.type === 'AS_SEQUENCE';
    if (joins && last.asns.length + segment.asns.length <= 255) {
      merged[merged.length - 1] = { type: last.type, asns: [...last.asns, ...segment.asns] };
    } else merged.push(segment);
  }
  return merged;
}
