import test from 'ava';
import fc from 'fast-check';
import { native } from '../src/native.ts';
import { ACK, anyShape, frameOf, PSH, read, type Shape, SYN, segmentsOf, unfinished } from './frames.ts';

const LARGEST = 1422;
const headerOf = (shape: Shape) => frameOf(shape).length - shape.payload.length;
const runs = { numRuns: 300 };

test('segmentation: what leaves is what the sender would have sent in pieces itself, octet by octet', (t) => {
  fc.assert(
    fc.property(anyShape(9000), fc.integer({ min: 60, max: 2000 }), (shape, size) => {
      // A UDP datagram keeps its size; a TCP segment is made to fit.
      const fits = shape.tcp ? Math.min(size, LARGEST - headerOf(shape)) : size;
      const out = native.segment(unfinished(shape, size), LARGEST)!;
      t.deepEqual(out, segmentsOf(shape, fits).map(frameOf));
    }),
    runs,
  );
});

test('a frame that is not to be cut gets its checksum and nothing else', (t) => {
  fc.assert(
    fc.property(anyShape(1400), (shape) => {
      const [out, ...more] = native.segment(unfinished(shape, 0), LARGEST)!;
      t.is(more.length, 0);
      t.true(read(out!)!.valid);
      t.deepEqual(read(out!)!.shape, shape);
    }),
    runs,
  );
});

/** By flow, with identifications taken out where they mean nothing (RFC 6864: DF set). */
function flows(frames: readonly Buffer[]): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const frame of frames) {
    const there = read(frame);
    const key = there ? `${there.shape.v6} ${there.shape.tcp} ${there.shape.tags} ${there.shape.source}` : 'other';
    const text = there?.shape.dontFragment
      ? JSON.stringify([{ ...there.shape, id: 0, payload: there.shape.payload.toString('hex') }, there.valid])
      : frame.toString('hex');
    result.set(key, [...(result.get(key) ?? []), text]);
  }
  return result;
}

const apart = (bundles: readonly Buffer[]) => bundles.flatMap((bundle) => native.segment(bundle, 65_535)!);

test('coalescing: segmentation gives back every frame, in the order of its flow', (t) => {
  const stream = fc
    .tuple(anyShape(6000), fc.integer({ min: 100, max: 1400 }), fc.boolean())
    .map(([shape, size, fixed]) =>
      segmentsOf(shape, size).map((piece) => frameOf(fixed && shape.dontFragment ? { ...piece, id: shape.id } : piece)),
    );
  const arrivals = fc.array(stream, { minLength: 1, maxLength: 5 }).chain((streams) =>
    fc.array(fc.nat(streams.length - 1), { maxLength: 60 }).map((turns) => {
      const rest = streams.map((frames) => [...frames]);
      const order = turns.flatMap((turn) => rest[turn]!.splice(0, 1));
      return [...order, ...rest.flat()];
    }),
  );
  let merged = 0;
  fc.assert(
    fc.property(arrivals, (frames) => {
      const bundles = native.coalesce(
        frames.map((frame) => Buffer.from(frame)),
        true,
      );
      merged += frames.length - bundles.length;
      t.deepEqual(flows(apart(bundles)), flows(frames));
    }),
    runs,
  );
  t.true(merged > 500, `only ${merged} frames were merged`);
});

test('coalescing: frames of noise, cut short or changed by a bit come out as they went in', (t) => {
  const pair = fc.tuple(anyShape(2800), fc.nat(), fc.nat(7), fc.boolean());
  fc.assert(
    fc.property(pair, ([shape, where, bit, cut]) => {
      const frames = segmentsOf(shape, 1400).map(frameOf);
      const hurt = frames[where % frames.length]!;
      if (cut) frames[where % frames.length] = hurt.subarray(0, 14 + (where % (hurt.length - 14)));
      else hurt[12 + (where % (hurt.length - 12))]! ^= 1 << bit;
      const bundles = native.coalesce(
        frames.map((frame) => Buffer.from(frame)),
        true,
      );
      const out = bundles.flatMap((bundle) =>
        bundle[1] === 0 ? [bundle.subarray(10)] : native.segment(bundle, 65_535)!,
      );
      const text = (list: readonly Buffer[]) => list.map((frame) => frame.toString('hex')).sort();
      t.deepEqual(text(out), text(frames));
    }),
    { numRuns: 1000 },
  );
});

test('coalescing stops where GRO does: a push, a shorter segment, a gap, another flag, another window', (t) => {
  const base: Shape = {
    ...{ v6: false, tcp: true, tags: 0, options: 12, source: 1000, sequence: 5, id: 1, dontFragment: true, flags: ACK },
    payload: Buffer.alloc(400, 7),
  };
  const [first, second, third] = segmentsOf(base, 100) as [Shape, Shape, Shape, Shape];
  const bundled = (...shapes: readonly Shape[]) => native.coalesce(shapes.map(frameOf), true).length;
  t.is(bundled(first, second, third), 1);
  t.is(bundled(first, { ...second, flags: ACK | PSH }, third), 2);
  t.is(bundled(first, { ...second, payload: second.payload.subarray(0, 50) }, third), 2);
  t.is(bundled(first, third), 2);
  t.is(bundled(third, second), 2);
  t.is(bundled({ ...first, flags: SYN }, second), 2);
  t.is(bundled(first, { ...second, source: 1001 }, third), 3);
  t.is(bundled(first, { ...second, payload: Buffer.alloc(0) }, second), 3);
  t.is(bundled(first, { ...second, id: 9 }), 2);
  const small = frameOf(second);
  small[small.length - 1]! ^= 1;
  t.is(native.coalesce([frameOf(first), small], true).length, 2, 'a wrong checksum is not healed');
});

test('a kernel whose TAP takes no large frames of UDP gets none', (t) => {
  const base: Shape = {
    ...{ v6: false, tcp: false, tags: 0, options: 0, source: 1000, sequence: 0, id: 1, dontFragment: true, flags: 0 },
    payload: Buffer.alloc(400, 7),
  };
  const frames = segmentsOf(base, 100).map(frameOf);
  t.is(
    native.coalesce(
      frames.map((frame) => Buffer.from(frame)),
      true,
    ).length,
    1,
  );
  t.is(
    native.coalesce(
      frames.map((frame) => Buffer.from(frame)),
      false,
    ).length,
    4,
  );
});

test('headers that contradict each other are refused, noise does no harm', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 10, maxLength: 300 }), fc.nat(1500), (bytes, largest) => {
      const frames = native.segment(Buffer.from(bytes), largest);
      t.true(frames === undefined || frames.length > 0);
    }),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(anyShape(3000), fc.uint8Array({ minLength: 10, maxLength: 10 }), (shape, header) => {
      native.segment(Buffer.concat([header, frameOf(shape)]), LARGEST);
    }),
    { numRuns: 3000 },
  );
  t.is(native.segment(Buffer.concat([Buffer.alloc(10), Buffer.alloc(13)]), LARGEST), undefined);
});
