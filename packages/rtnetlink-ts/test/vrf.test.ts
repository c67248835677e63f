import test from 'ava';
import fc from 'fast-check';
import { vrfData, vrfTable } from 'rtnetlink-ts';

test('the table of a VRF is in its kind data (IFLA_VRF_TABLE)', (t) => {
  t.is(vrfTable(Uint8Array.of(8, 0, 1, 0, 0xe9, 3, 0, 0)), 1001);
  t.is(vrfTable(vrfData(0xfffffffe)), 0xfffffffe);
  t.is(vrfTable(undefined), undefined);
  t.is(vrfTable(new Uint8Array()), undefined);
  t.is(vrfTable(Uint8Array.of(8, 0, 1, 0, 0xe9)), undefined, 'cut off');
  fc.assert(fc.property(fc.uint8Array(), (bytes) => ['number', 'undefined'].includes(typeof vrfTable(bytes))));
});
