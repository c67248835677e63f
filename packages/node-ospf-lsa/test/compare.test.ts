import test from 'ava';
import {
  compareInstances,
  InitialSequenceNumber,
  lsaKeyText,
  MaxAge,
  MaxAgeDiff,
  MaxSequenceNumber,
} from '../src/index.ts';

interface Instance {
  readonly sequence: number;
  readonly checksum: number;
  readonly age: number;
}
const at = (sequence: number, checksum: number, age: number): Instance => ({ sequence, checksum, age });

/** The first is newer than the second, or `same`. */
const rows: readonly (readonly [string, Instance, Instance, 'newer' | 'same'])[] = [
  ['the greater sequence number', at(2, 1, 100), at(1, 9, 0), 'newer'],
  ['sequence numbers are signed', at(1, 1, 0), at(-1, 9, 0), 'newer'],
  ['the first of all is the oldest', at(MaxSequenceNumber, 1, 0), at(InitialSequenceNumber, 9, 0), 'newer'],
  ['a greater sequence number beats MaxAge', at(2, 1, 0), at(1, 1, MaxAge), 'newer'],
  ['then the greater checksum', at(1, 0xffff, 100), at(1, 0x7fff, 0), 'newer'],
  ['checksums are unsigned', at(1, 0x8000, 0), at(1, 0x7fff, MaxAge), 'newer'],
  ['then MaxAge', at(1, 1, MaxAge), at(1, 1, MaxAge - 1), 'newer'],
  ['MaxAge beats a fresh one', at(1, 1, MaxAge), at(1, 1, 0), 'newer'],
  ['both MaxAge', at(1, 1, MaxAge), at(1, 1, MaxAge), 'same'],
  ['an age beyond MaxAge is MaxAge', at(1, 1, MaxAge), at(1, 1, MaxAge + 100), 'same'],
  ['then the younger, more than MaxAgeDiff apart', at(1, 1, 0), at(1, 1, MaxAgeDiff + 1), 'newer'],
  ['just MaxAgeDiff apart', at(1, 1, 0), at(1, 1, MaxAgeDiff), 'same'],
  ['the same', at(1, 1, 7), at(1, 1, 7), 'same'],
  ['DoNotAge does not make an age great', at(1, 1, 0x8000 | 7), at(1, 1, 7), 'same'],
  ['DoNotAge at MaxAge is MaxAge', at(1, 1, 0x8000 | MaxAge), at(1, 1, 7), 'newer'],
];

for (const [name, a, b, expected] of rows) {
  test(`RFC 2328 §13.1: ${name}`, (t) => {
    t.is(Math.sign(compareInstances(a, b)), expected === 'newer' ? 1 : 0);
    t.is(Math.sign(compareInstances(b, a)), expected === 'newer' ? -1 : 0);
  });
}

test('a key is the same for instances of one LSA and different for different ones', (t) => {
  const key = { type: 5, linkStateId: 1, advertisingRouter: 23 };
  t.is(lsaKeyText({ ...key }), lsaKeyText({ ...key, sequence: 7 } as typeof key));
  const keys = [key, { ...key, type: 7 }, { ...key, linkStateId: 12, advertisingRouter: 3 }, { ...key, type: 51 }];
  t.is(new Set(keys.map(lsaKeyText)).size, keys.length);
});
