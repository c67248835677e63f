import { type Address, type Mac, type Prefix, parseAddress, parseMac, parsePrefix } from '../model/address.ts';

/** The checks have run: a value that still doesn't parse is a defect of ours. */
export function checked<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new TypeError(`an unchecked value: ${text}`);
  return value;
}

export const toAddress = (text: string): Address => checked(parseAddress(text), text);
export const toPrefix = (text: string): Prefix => checked(parsePrefix(text), text);
export const toMac = (text: string): Mac => checked(parseMac(text), text);
