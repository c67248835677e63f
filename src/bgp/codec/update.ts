import type { Address, Family, Prefix } from '../../model/address.ts';
import { formatAddress } from '../../model/address.ts';
import type { WireAttributes } from './attributes.ts';
import { ATTRIBUTE, ATTRIBUTES, FLAG } from './attributes.ts';
import type { BgpError } from './errors.ts';
import { bgpError, CODE, UPDATE } from './errors.ts';
import { LONGEST_VALUE, readKeys } from './facts.ts';
import type {
  FactsUpdate,
  PathAttributes,
  Problem,
  RawAttribute,
  Reach,
  Treatment,
  UpdateMessage,
} from './messages.ts';
import { AFI, familyOfAfi, SAFI_PORT_FACTS } from './messages.ts';
import { readPrefixes } from './nlri.ts';
import { Reader } from './reader.ts';
import { mergeFourOctet, validateAttributes } from './validate.ts';

/**
 * Reads an UPDATE by RFC 4271 §4.3, RFC 4760 and the revised error handling of RFC 7606: whatever leaves the routes
 * themselves readable costs those routes (treat-as-withdraw) or the one attribute (attribute discard); only what makes
 * it doubtful which routes were meant is an error that resets the session.
 */
export interface UpdateContext {
  readonly fourOctetAs: boolean;
  /** Families agreed on in the OPENs. */
  readonly families: ReadonlySet<Family>;
  /** Facts of ports were agreed on, too. */
  readonly portFacts?: boolean;
  readonly external: boolean;
  readonly remoteAs: number;
}

interface Parts {
  readonly attributes: WireAttributes;
  readonly problems: Problem[];
  readonly unknown: RawAttribute[];
  reach: Reach | undefined;
  unreach: { readonly family: Family; readonly prefixes: Prefix[] } | undefined;
  /** An attribute other than MP_UNREACH_NLRI was there (RFC 7606 §5.2). */
  other: boolean;
  factsSaid: readonly Uint8Array[];
  factsWithdrawn: readonly Uint8Array[] | undefined;
  factValue: Uint8Array | undefined;
}

const reset = (subcode: number, reason: string, data?: Uint8Array): BgpError =>
  bgpError(CODE.update, subcode, reason, data);

export function readUpdate(body: Uint8Array, context: UpdateContext): UpdateMessage | BgpError {
  const reader = new Reader(body);
  const withdrawnField = reader.take(reader.u16());
  const attributeField = reader.take(reader.u16());
  if (reader.overrun) return reset(UPDATE.malformedAttributeList, 'update_lengths');
  const withdrawn = readPrefixes(new Reader(withdrawnField), 4);
  const announced = readPrefixes(reader, 4);
  if (!withdrawn || !announced) return reset(UPDATE.invalidNetworkField, 'update_nlri');

  const parts = readAttributeList(attributeField, context);
  if ('type' in parts) return parts;
  const { attributes, problems, reach, unreach } = parts;
  mergeFourOctet(attributes, context.fourOctetAs);
  if (parts.unknown.length > 0) attributes.unknown = parts.unknown;

  const routes = announced.length > 0 || (reach !== undefined && reach.prefixes.length > 0);
  const reachable = routes || parts.factsSaid.length > 0;
  if (parts.factsSaid.length > 0 && !parts.factValue && !problems.some(isFactProblem)) {
    problems.push(problem('treat-as-withdraw', 'attribute_port_fact_missing', UPDATE.missingWellKnown));
  }
  if (reachable) problems.push(...validateAttributes(attributes, context, announced.length > 0));
  const worst = problems.find((problem) => problem.treatment === 'treat-as-withdraw');
  // RFC 7606 §5.2: with no reachable NLRI in sight it is not certain that there were none.
  const disabled = problems.some(({ treatment }) => treatment === 'afi-safi-disable');
  if (worst && !reachable && !disabled && parts.other) return reset(worst.subcode, worst.reason, worst.data);

  const reaches: Reach[] = [];
  if (announced.length > 0)
    reaches.push({ family: 4, nextHop: attributes.nextHop ?? NO_NEXT_HOP, prefixes: announced });
  if (reach && reach.prefixes.length > 0) reaches.push(reach);
  const gone = worst ? reaches.flatMap((one) => one.prefixes) : [];
  const facts = factsOf(parts, worst !== undefined);
  return {
    type: 'UPDATE',
    withdrawn: [...withdrawn, ...(unreach?.prefixes ?? []), ...gone],
    reach: worst ? [] : reaches,
    attributes: attributes as PathAttributes,
    problems,
    endOfRib: endOfRib(body, parts, withdrawn.length),
    ...(facts ? { facts } : {}),
  };
}

/** What is withdrawn by bad attributes is withdrawn in this family as in others. */
function factsOf(parts: Parts, bad: boolean): FactsUpdate | undefined {
  const { factsSaid, factsWithdrawn, factValue, other } = parts;
  if (factsSaid.length === 0 && !factsWithdrawn) return undefined;
  return {
    withdrawn: bad ? [...(factsWithdrawn ?? []), ...factsSaid] : (factsWithdrawn ?? []),
    said: bad ? [] : factsSaid,
    value: factValue ?? NO_VALUE,
    endOfRib: factsWithdrawn?.length === 0 && !other,
  };
}

const NO_VALUE = new Uint8Array(0);
const isFactProblem = ({ reason }: Problem): boolean => reason.startsWith('attribute_port_fact');

const NO_NEXT_HOP = '0.0.0.0' as Address;

/** RFC 4724 §2. */
function endOfRib(body: Uint8Array, parts: Parts, withdrawn: number): Family | undefined {
  if (body.length === 4) return 4;
  if (parts.unreach?.prefixes.length === 0 && !parts.other && withdrawn === 0) return parts.unreach.family;
  return undefined;
}

function readAttributeList(field: Uint8Array, context: UpdateContext): Parts | BgpError {
  const parts: Parts = {
    attributes: {},
    problems: [],
    unknown: [],
    reach: undefined,
    unreach: undefined,
    other: false,
    factsSaid: [],
    factsWithdrawn: undefined,
    factValue: undefined,
  };
  const seen = new Set<number>();
  const reader = new Reader(field);
  while (reader.remaining > 0) {
    const start = reader.offset;
    const flags = reader.u8();
    const type = reader.u8();
    const length = flags & FLAG.extendedLength ? reader.u16() : reader.u8();
    const value = reader.take(length);
    if (reader.overrun) {
      // RFC 7606 §4: the NLRI field is found by the total length, so the routes are still known...
      const family = type === ATTRIBUTE.MP_REACH_NLRI || type === ATTRIBUTE.MP_UNREACH_NLRI;
      // ...but not those of a truncated MP attribute (§5.3).
      if (family) return reset(UPDATE.malformedAttributeList, 'attribute_overrun_mp');
      parts.other = true;
      parts.problems.push(problem('treat-as-withdraw', 'attribute_overrun', UPDATE.malformedAttributeList));
      break;
    }
    if (type !== ATTRIBUTE.MP_UNREACH_NLRI) parts.other = true;
    const whole = field.subarray(start, reader.offset);
    const error = readOne({ flags, type, value }, whole, seen.has(type), parts, context);
    if (error) return error;
    seen.add(type);
  }
  return parts;
}

const problem = (treatment: Treatment, reason: string, subcode: number, data = new Uint8Array(0)): Problem => ({
  treatment,
  reason,
  subcode,
  data,
});

function readOne(
  raw: RawAttribute,
  whole: Uint8Array,
  duplicate: boolean,
  parts: Parts,
  context: UpdateContext,
): BgpError | undefined {
  const multiprotocol = raw.type === ATTRIBUTE.MP_REACH_NLRI || raw.type === ATTRIBUTE.MP_UNREACH_NLRI;
  if (duplicate) {
    // RFC 7606 §3 (g).
    if (multiprotocol) return reset(UPDATE.malformedAttributeList, 'attribute_duplicate_mp');
    parts.problems.push(problem('attribute-discard', 'attribute_duplicate', UPDATE.malformedAttributeList));
    return undefined;
  }
  if (multiprotocol) {
    if ((raw.flags & 0xc0) !== FLAG.optional) {
      parts.problems.push(
        problem('treat-as-withdraw', 'attribute_flags_mp', UPDATE.attributeFlags, Uint8Array.from(whole)),
      );
    }
    return raw.type === ATTRIBUTE.MP_REACH_NLRI
      ? readReach(raw.value, whole, parts, context)
      : readUnreach(raw.value, whole, parts, context);
  }
  if (raw.type === ATTRIBUTE.PORT_FACT && context.portFacts) {
    readFactValue(raw, whole, parts);
    return undefined;
  }
  const row = ATTRIBUTES.get(raw.type);
  if (!row) {
    if (!(raw.flags & FLAG.optional)) {
      return reset(UPDATE.unrecognizedWellKnown, 'attribute_unrecognized_well_known', Uint8Array.from(whole));
    }
    parts.unknown.push({ ...raw, value: Uint8Array.from(raw.value) });
    return undefined;
  }
  if (row.internalOnly && context.external) {
    parts.problems.push(problem('attribute-discard', `attribute_${row.name}_external`, UPDATE.malformedAttributeList));
    return undefined;
  }
  if ((raw.flags & 0xc0) !== row.flags) {
    // RFC 7606 §3 (c).
    parts.problems.push(problem('treat-as-withdraw', 'attribute_flags', UPDATE.attributeFlags, Uint8Array.from(whole)));
    return undefined;
  }
  if (!row.read(raw.value, parts.attributes, context)) {
    const subcode = row.subcode ?? UPDATE.attributeLength;
    const data = subcode === UPDATE.malformedAsPath ? undefined : Uint8Array.from(whole);
    parts.problems.push(problem(row.malformed, `attribute_${row.name}`, subcode, data));
  }
  return undefined;
}

/** RFC 4760 §3. */
function readReach(value: Uint8Array, whole: Uint8Array, parts: Parts, context: UpdateContext): BgpError | undefined {
  const reader = new Reader(value);
  const [afi, safi] = [reader.u16(), reader.u8()];
  const family = familyOfAfi(afi, safi);
  const nextHop = reader.take(reader.u8());
  reader.u8();
  if (reader.overrun) return reset(UPDATE.optionalAttribute, 'mp_reach_length', Uint8Array.from(whole));
  if (context.portFacts && isFacts(afi, safi)) {
    const keys = nextHop.length === 4 || nextHop.length >= 16 ? readKeys(reader) : undefined;
    if (keys) parts.factsSaid = keys;
    else disableFacts(parts);
    return undefined;
  }
  if (!family || !context.families.has(family)) {
    parts.problems.push(problem('attribute-discard', 'family_not_negotiated', UPDATE.optionalAttribute));
    return undefined;
  }
  // RFC 7606 §7.11: with a next hop of the wrong size the NLRI can't be located for sure.
  const fits = family === 4 ? nextHop.length === 4 : nextHop.length === 16 || nextHop.length === 32;
  if (!fits) return reset(UPDATE.optionalAttribute, 'mp_reach_next_hop_length', Uint8Array.from(whole));
  const prefixes = readPrefixes(reader, family);
  if (!prefixes) return reset(UPDATE.optionalAttribute, 'mp_reach_nlri', Uint8Array.from(whole));
  const first = formatAddress(nextHop.length === 32 ? nextHop.subarray(0, 16) : nextHop);
  parts.reach = { family, nextHop: first, prefixes };
  if (nextHop.length === 32) parts.reach = { ...parts.reach, linkLocal: formatAddress(nextHop.subarray(16)) };
  return undefined;
}

/** RFC 4760 §4. */
function readUnreach(value: Uint8Array, whole: Uint8Array, parts: Parts, context: UpdateContext): BgpError | undefined {
  const reader = new Reader(value);
  const [afi, safi] = [reader.u16(), reader.u8()];
  const family = familyOfAfi(afi, safi);
  if (reader.overrun) return reset(UPDATE.optionalAttribute, 'mp_unreach_length', Uint8Array.from(whole));
  if (context.portFacts && isFacts(afi, safi)) {
    const keys = readKeys(reader);
    if (keys) parts.factsWithdrawn = keys;
    else disableFacts(parts);
    return undefined;
  }
  if (!family || !context.families.has(family)) {
    parts.problems.push(problem('attribute-discard', 'family_not_negotiated', UPDATE.optionalAttribute));
    return undefined;
  }
  const prefixes = readPrefixes(reader, family);
  if (!prefixes) return reset(UPDATE.optionalAttribute, 'mp_unreach_nlri', Uint8Array.from(whole));
  parts.unreach = { family, prefixes };
  return undefined;
}

const isFacts = (afi: number, safi: number): boolean => afi === AFI.ipv4 && safi === SAFI_PORT_FACTS;

/**
 * RFC 7606 §5.3 resets the session where the NLRI can't be read, or, as RFC 4760 §7 has it, ignores the family for the
 * rest of the session. Facts are not worth the session.
 */
function disableFacts(parts: Parts): void {
  parts.problems.push(problem('afi-safi-disable', 'port_facts_nlri', UPDATE.optionalAttribute));
}

function readFactValue({ flags, value }: RawAttribute, whole: Uint8Array, parts: Parts): void {
  const bad = (reason: string, subcode: number) =>
    parts.problems.push(problem('treat-as-withdraw', reason, subcode, Uint8Array.from(whole)));
  if ((flags & 0xc0) !== FLAG.optional) bad('attribute_port_fact_flags', UPDATE.attributeFlags);
  else if (value.length === 0 || value.length > LONGEST_VALUE) bad('attribute_port_fact', UPDATE.attributeLength);
  else parts.factValue = Uint8Array.from(value);
}
