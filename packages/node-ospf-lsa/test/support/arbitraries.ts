/** Random packets and LSAs of every kind, as values. */
import fc from 'fast-check';
import type { Authentication, Lsa, LsaBody, LsaFields, LsaHeader, OutgoingPacket } from '../../src/index.ts';
import { encodeLsa } from '../../src/index.ts';

/** As plain as an object literal, so that deepEqual sees no difference of prototypes. */
const record = <T>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<T> =>
  fc.record<T, keyof T>(model, { noNullPrototype: true });

const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u24 = fc.nat(0xffffff);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const metricType = fc.constantFrom<1 | 2>(1, 2);

const bodies: Readonly<Record<LsaBody['kind'], fc.Arbitrary<LsaBody>>> = {
  router: record({
    kind: fc.constant('router' as const),
    flags: u8,
    links: fc.array(
      record({
        linkId: u32,
        linkData: u32,
        type: u8,
        metric: u16,
        tos: fc.array(record({ tos: u8, metric: u16 }), { maxLength: 3 }),
      }),
      { maxLength: 6 },
    ),
  }),
  network: record({
    kind: fc.constant('network' as const),
    mask: u32,
    attachedRouters: fc.array(u32, { maxLength: 6 }),
  }),
  summary: record({
    kind: fc.constant('summary' as const),
    mask: u32,
    metric: u24,
    tos: fc.array(record({ tos: u8, metric: u24 }), { maxLength: 3 }),
  }),
  external: record({
    kind: fc.constant('external' as const),
    mask: u32,
    metricType,
    metric: u24,
    forwardingAddress: u32,
    tag: u32,
    tos: fc.array(record({ metricType, tos: fc.nat(0x7f), metric: u24, forwardingAddress: u32, tag: u32 }), {
      maxLength: 3,
    }),
  }),
  opaque: record({ kind: fc.constant('opaque' as const), data: fc.uint8Array({ maxLength: 60 }) }),
  unknown: record({ kind: fc.constant('unknown' as const), data: fc.uint8Array({ maxLength: 60 }) }),
};

const types: Readonly<Record<LsaBody['kind'], readonly number[]>> = {
  router: [1],
  network: [2],
  summary: [3, 4],
  external: [5, 7],
  opaque: [9, 10, 11],
  unknown: [0, 6, 8, 12, 200, 255],
};

export const lsaTypes: readonly number[] = Object.values(types).flat();

/** What `encodeLsa` takes, of one LSA type. */
export function lsaInput(type: number): fc.Arbitrary<[LsaFields, LsaBody]> {
  const kind = (Object.keys(types) as LsaBody['kind'][]).find((name) => types[name].includes(type))!;
  const fields = record({
    age: u16,
    options: u8,
    type: fc.constant(type),
    linkStateId: u32,
    advertisingRouter: u32,
    sequence: i32,
  });
  return fc.tuple(fields, bodies[kind]);
}

export const lsa: fc.Arbitrary<Lsa> = fc
  .constantFrom(...lsaTypes)
  .chain(lsaInput)
  .map(([fields, body]) => encodeLsa(fields, body));

const lsaHeader: fc.Arbitrary<LsaHeader> = record({
  age: u16,
  options: u8,
  type: u8,
  linkStateId: u32,
  advertisingRouter: u32,
  sequence: i32,
  checksum: u16,
  length: u16,
});

const ids = { routerId: u32, areaId: u32 };

export const packets: Readonly<Record<string, fc.Arbitrary<OutgoingPacket>>> = {
  Hello: record({
    ...ids,
    type: fc.constant(1 as const),
    networkMask: u32,
    helloInterval: u16,
    options: u8,
    priority: u8,
    deadInterval: u32,
    designatedRouter: u32,
    backupDesignatedRouter: u32,
    neighbors: fc.array(u32, { maxLength: 8 }),
  }),
  'Database Description': record({
    ...ids,
    type: fc.constant(2 as const),
    interfaceMtu: u16,
    options: u8,
    flags: u8,
    sequence: u32,
    headers: fc.array(lsaHeader, { maxLength: 8 }),
  }),
  'Link State Request': record({
    ...ids,
    type: fc.constant(3 as const),
    requests: fc.array(record({ type: u32, linkStateId: u32, advertisingRouter: u32 }), { maxLength: 8 }),
  }),
  'Link State Update': record({
    ...ids,
    type: fc.constant(4 as const),
    lsas: fc.array(lsa, { maxLength: 8 }),
  }),
  'Link State Acknowledgment': record({
    ...ids,
    type: fc.constant(5 as const),
    headers: fc.array(lsaHeader, { maxLength: 8 }),
  }),
};

export const anyPacket: fc.Arbitrary<OutgoingPacket> = fc.oneof(...Object.values(packets));

const secret = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });

export const authentication: fc.Arbitrary<Authentication> = fc.oneof(
  fc.constant<Authentication>({ type: 'none' }),
  record({ type: fc.constant('simple' as const), password: fc.string({ maxLength: 8, unit: 'grapheme-ascii' }) }),
  record({ type: fc.constant('md5' as const), keyId: u8, secret: secret(16) }),
  record({
    type: fc.constantFrom('hmac-sha-1' as const, 'hmac-sha-256', 'hmac-sha-384', 'hmac-sha-512'),
    keyId: u8,
    secret: secret(150),
  }),
);
