import test from 'ava';
import fc from 'fast-check';
import { makePrefix, type Prefix, prefixAddress, prefixContains, prefixLength } from '../../src/model/address.ts';
import { overlapping } from '../../src/model/overlaps.ts';

const meet = (a: Prefix, b: Prefix): boolean => {
  const [wide, narrow] = prefixLength(a) <= prefixLength(b) ? [a, b] : [b, a];
  return prefixContains(wide, prefixAddress(narrow));
};

test('R1.1 networks with addresses in common are found as if each were held against each', (t) => {
  const prefix = fc
    .tuple(fc.constantFrom(10, 11), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 32 }))
    .map(([first, second, length]) => makePrefix(Uint8Array.of(first, second, 0, 0), length));
  const six = fc
    .integer({ min: 0, max: 64 })
    .map((length) => makePrefix(Uint8Array.of(0x20, 1, ...new Uint8Array(14)), length));
  fc.assert(
    fc.property(fc.array(fc.oneof(prefix, six), { maxLength: 12 }), (subnets) => {
      const items = subnets.map((subnet, index) => ({ name: `n${index}`, subnet }));
      const found = overlapping(items);
      for (const one of items) {
        const others = items.filter((other) => other !== one && meet(one.subnet, other.subnet)).map(({ name }) => name);
        t.deepEqual([...(found.get(one.name) ?? [])].sort(), others.sort());
      }
    }),
  );
});
