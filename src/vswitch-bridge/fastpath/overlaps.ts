import { type Prefix, prefixAddress, prefixContains } from '../../model/address.ts';

export const overlaps = (a: Prefix, b: Prefix): boolean =>
  prefixContains(a, prefixAddress(b)) || prefixContains(b, prefixAddress(a));
