import { heardText } from '../../model/ports.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** UTF-8 without control characters, at most `most` octets, cut between characters. */
export function textOctets(text: string, most: number): Uint8Array {
  const octets = new Uint8Array(most);
  const { written } = encoder.encodeInto(heardText(text).toWellFormed(), octets);
  return octets.subarray(0, written);
}

/** undefined when the octets are not UTF-8. */
export function octetsText(octets: Uint8Array): string | undefined {
  try {
    return heardText(decoder.decode(octets));
  } catch {
    return undefined;
  }
}
