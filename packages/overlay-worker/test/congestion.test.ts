import test from 'ava';
import fc from 'fast-check';
import { native } from '../src/native.ts';
import { anyShape, checksum, frameOf, read, type Shape } from './frames.ts';

const l3Of = (shape: Shape) => 14 + shape.tags * 4;

function marked(shape: Shape, tos: number): Buffer {
  const frame = frameOf(shape);
  const l3 = frame.subarray(l3Of(shape));
  if (shape.v6) {
    l3.writeUInt16BE(0x6000 | (tos << 4), 0);
  } else {
    l3[1] = tos;
    l3.writeUInt16BE(0, 10);
    l3.writeUInt16BE(checksum(l3.subarray(0, 20)), 10);
  }
  return frame;
}

const [NOT_ECT, ECT1, ECT0, CE] = [0, 1, 2, 3] as const;
const DROP = 'drop';
/** RFC 6040 §4.2, figure 4: inner → outer → what leaves. */
const EGRESS: Readonly<Record<number, Readonly<Record<number, number | typeof DROP>>>> = {
  [NOT_ECT]: { [NOT_ECT]: NOT_ECT, [ECT0]: NOT_ECT, [ECT1]: NOT_ECT, [CE]: DROP },
  [ECT0]: { [NOT_ECT]: ECT0, [ECT0]: ECT0, [ECT1]: ECT1, [CE]: CE },
  [ECT1]: { [NOT_ECT]: ECT1, [ECT0]: ECT1, [ECT1]: ECT1, [CE]: CE },
  [CE]: { [NOT_ECT]: CE, [ECT0]: CE, [ECT1]: CE, [CE]: CE },
};

const octet = fc.nat(255);

test('ingress: the outer header has the DSCP and ECN of the inner one, behind any VLAN tags', (t) => {
  fc.assert(fc.property(anyShape(100), octet, (shape, tos) => t.is(native.tos(marked(shape, tos)), tos)));
});

test('egress: the table of RFC 6040 for each pair, the inner DSCP kept, and nothing else touched', (t) => {
  for (const inner of [NOT_ECT, ECT1, ECT0, CE]) {
    for (const outer of [NOT_ECT, ECT1, ECT0, CE]) {
      fc.assert(
        fc.property(anyShape(100), fc.nat(63), fc.nat(63), (shape, dscp, outerDscp) => {
          const frame = marked(shape, (dscp << 2) | inner);
          const before = Buffer.from(frame);
          const expected = EGRESS[inner]![outer]!;
          t.is(native.decapsulate(frame, (outerDscp << 2) | outer), expected !== DROP);
          t.deepEqual(frame, expected === DROP ? before : marked(shape, (dscp << 2) | expected));
          t.true(read(frame)!.valid);
        }),
        { numRuns: 50 },
      );
    }
  }
});

test('a header whose checksum was wrong stays wrong, and what is no IP is let through as it is', (t) => {
  fc.assert(
    fc.property(anyShape(100), fc.integer({ min: 1, max: 0xfffe }), (shape, off) => {
      const frame = marked({ ...shape, v6: false }, ECT0);
      const at = l3Of(shape) + 10;
      frame.writeUInt16BE((frame.readUInt16BE(at) + off) & 0xffff, at);
      // 0 and 0xffff are the same number to this sum.
      if (checksum(frame.subarray(at - 10, at + 10)) === 0) return;
      t.true(native.decapsulate(frame, CE));
      t.not(checksum(frame.subarray(at - 10, at + 10)), 0);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), octet, (bytes, outer) => {
      const frame = Buffer.from(bytes);
      // No type of Ethernet that stands for IP or a tag.
      if (frame.length > 12) frame[12] = 0x90;
      t.is(native.tos(frame), 0);
      t.true(native.decapsulate(frame, outer));
      t.deepEqual(frame.subarray(0, 12), Buffer.from(bytes).subarray(0, 12));
      t.deepEqual(frame.subarray(13), Buffer.from(bytes).subarray(13));
    }),
  );
  fc.assert(
    fc.property(anyShape(100), fc.nat(200), octet, (shape, length, outer) => {
      const frame = marked(shape, ECT0).subarray(0, length);
      native.decapsulate(frame, outer);
      native.tos(frame);
    }),
  );
  t.pass();
});
