/** Messages about policies: XFRM_MSG_NEWPOLICY, UPDPOLICY, DELPOLICY, GETPOLICY. */
import { AttributeCursor, Malformed, type Message, type MessageWriter } from 'rtnetlink-ts';
import type { Address } from '../../../../model/address.ts';
import { SIZE, XFRM_ACTION, XFRM_MODE_TRANSPORT, XFRM_POLICY, XFRMA } from './constants.ts';
import {
  getAddress,
  getSelector,
  IPPROTO_ESP,
  linuxFamily,
  type Mark,
  markBytes,
  putAddress,
  putId,
  putNoLimits,
  putSelector,
  type Selector,
} from './structures.ts';

/** An SA that a packet must go or have come through: ESP in transport mode. */
export interface Template {
  readonly source: Address;
  readonly destination: Address;
  /** 0: any of this reqid. */
  readonly spi: number;
  readonly reqid: number;
}

export interface PolicyId {
  readonly direction: 'in' | 'out';
  readonly selector: Selector;
  readonly mark?: Mark;
  readonly interfaceId?: number;
}

export interface Policy extends PolicyId {
  /** The lower counts first. */
  readonly priority: number;
  /** Absent: dropped. */
  readonly template?: Template;
}

const ANY_ALGORITHM = 0xffffffff;

export function writePolicy(writer: MessageWriter, policy: Policy): void {
  const { selector, direction, priority, template } = policy;
  const info = Buffer.alloc(SIZE.POLICY);
  putSelector(info, 0, selector);
  putNoLimits(info, 56);
  info.writeUInt32LE(priority, 152);
  info[160] = directionNumber(direction);
  info[161] = template ? XFRM_ACTION.ALLOW : XFRM_ACTION.BLOCK;
  writer.octets(info);
  if (template) {
    const bytes = Buffer.alloc(SIZE.TEMPLATE);
    putId(bytes, 0, template.destination, template.spi);
    bytes.writeUInt16LE(linuxFamily(template.destination), 24);
    putAddress(bytes, 28, template.source);
    bytes.writeUInt32LE(template.reqid, 44);
    bytes[48] = XFRM_MODE_TRANSPORT;
    for (const at of [52, 56, 60]) bytes.writeUInt32LE(ANY_ALGORITHM, at);
    writer.attributeBytes(XFRMA.TMPL, bytes);
  }
  writeScope(writer, policy);
}

export function writePolicyId(writer: MessageWriter, id: PolicyId): void {
  const bytes = Buffer.alloc(SIZE.POLICY_ID);
  putSelector(bytes, 0, id.selector);
  bytes[60] = directionNumber(id.direction);
  writer.octets(bytes);
  writeScope(writer, id);
}

function writeScope(writer: MessageWriter, { mark, interfaceId }: PolicyId): void {
  if (mark) writer.attributeBytes(XFRMA.MARK, markBytes(mark));
  if (interfaceId !== undefined) writer.attributeU32(XFRMA.IF_ID, interfaceId);
}

/** undefined: a policy of another kind than ours. */
export function readPolicy(message: Message): Policy | undefined | Malformed {
  const { bytes, start, end } = message;
  if (end - start < SIZE.POLICY) return new Malformed('short message');
  const selector = getSelector(bytes, start);
  const direction = DIRECTIONS.get(bytes[start + 160]!);
  const action = bytes[start + 161];
  const cursor = new AttributeCursor(bytes, start + SIZE.POLICY, end);
  let template: Template | undefined;
  let strange = false;
  let mark: Mark | undefined;
  let interfaceId: number | undefined;
  while (cursor.next()) {
    const range = cursor.range;
    if (cursor.type === XFRMA.TMPL) {
      template = readTemplate(range.bytes, range.start, range.end);
      strange ||= template === undefined;
    } else if (cursor.type === XFRMA.MARK) {
      if (range.end - range.start < 8) return new Malformed('short attribute');
      mark = { value: range.bytes.readUInt32LE(range.start), mask: range.bytes.readUInt32LE(range.start + 4) };
    } else if (cursor.type === XFRMA.IF_ID) interfaceId = cursor.u32();
  }
  if (cursor.malformed) return cursor.malformed;
  if (!selector || !direction || strange || (action === XFRM_ACTION.ALLOW) !== (template !== undefined))
    return undefined;
  return {
    direction,
    selector,
    priority: bytes.readUInt32LE(start + 152),
    ...(template ? { template } : {}),
    ...(mark ? { mark } : {}),
    ...(interfaceId === undefined ? {} : { interfaceId }),
  };
}

/** Of XFRM_MSG_DELPOLICY as a notification. */
export function readPolicyId(message: Message): PolicyId | undefined | Malformed {
  const { bytes, start, end } = message;
  if (end - start < SIZE.POLICY_ID) return new Malformed('short message');
  const selector = getSelector(bytes, start);
  const direction = DIRECTIONS.get(bytes[start + 60]!);
  return selector && direction ? { direction, selector } : undefined;
}

/** undefined: not the one template that we write. */
function readTemplate(bytes: Buffer, start: number, end: number): Template | undefined {
  if (end - start !== SIZE.TEMPLATE) return undefined;
  const family = bytes.readUInt16LE(start + 24);
  const destination = getAddress(bytes, start, family);
  const source = getAddress(bytes, start + 28, family);
  if (destination === undefined || source === undefined) return undefined;
  if (bytes[start + 20] !== IPPROTO_ESP || bytes[start + 48] !== XFRM_MODE_TRANSPORT) return undefined;
  return { source, destination, spi: bytes.readUInt32BE(start + 16), reqid: bytes.readUInt32LE(start + 44) };
}

const directionNumber = (direction: PolicyId['direction']): number =>
  direction === 'in' ? XFRM_POLICY.IN : XFRM_POLICY.OUT;

const DIRECTIONS: ReadonlyMap<number, PolicyId['direction']> = new Map([
  [XFRM_POLICY.IN, 'in'],
  [XFRM_POLICY.OUT, 'out'],
]);
