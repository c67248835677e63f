import test from 'ava';
import { MOST, RetiredSpis } from '../../../src/vswitch-bridge/encryption/driver/retired-spis.ts';

const spiOf = (number: number): number => (0x80000000 | (number << 8)) >>> 0;

test('R0.1 ten thousand rotations: not more is kept than the bound, and no key of them is taken for a new one', (t) => {
  const retired = new RetiredSpis();
  for (let number = 1; number <= 10_000; number++) {
    const issued = number * 900_000;
    t.false(retired.has(spiOf(number), issued), `V${number} is new`);
    retired.add(spiOf(number), issued);
    t.true(retired.size <= MOST);
  }
  // With the time of issue that it had: however long ago.
  for (let number = 1; number <= 10_000; number++) t.true(retired.has(spiOf(number), number * 900_000));
  // The same octets, issued once more: told by the SPI, while the versions come round at most.
  t.true(retired.has(spiOf(10_000 - 254), 10_001 * 900_000));
  retired.clear();
  t.is(retired.size, 0);
  t.false(retired.has(spiOf(1), 900_000), 'in another life it is another key');
});

test('R0.1 who comes back again and again counts once', (t) => {
  const retired = new RetiredSpis();
  for (let round = 0; round < 10_000; round++) retired.add(spiOf(round % 5), round);
  t.is(retired.size, 5);
  t.false(retired.has(spiOf(9), 0), 'nothing had to be forgotten');
});
