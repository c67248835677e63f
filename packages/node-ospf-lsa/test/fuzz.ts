/**
 * Mutates recorded packets for as long as it is told (`node test/fuzz.ts 60 [seed]`, seconds) and stops at the first
 * exception or slow answer, with the bytes that did it. Not part of the test run.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { decodePacket, encodeLsa, encodePacket, packetChecksum } from '../src/index.ts';
import { readOspf } from './support/pcap.ts';

const seconds = Number(process.argv[2] ?? 10);
let state = Number(process.argv[3] ?? Date.now()) >>> 0 || 1;
console.log(`seed ${state}`);

/** xorshift32: the same seed, the same story. */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const fixtures = new URL('./fixtures/', import.meta.url);
const corpus = readdirSync(fixtures)
  .filter((name) => name.endsWith('.pcap'))
  .flatMap((name) => readOspf(readFileSync(new URL(name, fixtures))).map(({ ospf }) => ospf));

function mutate(original: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (let count = 1 + random(6); count > 0; count--) {
    const kind = random(4);
    if (kind === 0 && bytes.length > 0) bytes[random(bytes.length)] = random(256);
    else if (kind === 1) bytes = bytes.slice(0, random(bytes.length + 1));
    else if (kind === 2) bytes = Uint8Array.from([...bytes, ...corpus[random(corpus.length)]!.subarray(random(40))]);
    else if (bytes.length > 4) bytes.set([random(256), random(256)], random(bytes.length - 2));
  }
  if (random(4) > 0 && bytes.length >= 24) {
    bytes.set([2, 1 + random(5), bytes.length >> 8, bytes.length & 255]);
    bytes.set([0, 0], 14);
    const checksum = packetChecksum(bytes, bytes.length);
    bytes.set([checksum >> 8, checksum & 255], 12);
  }
  return bytes;
}

const until = Date.now() + seconds * 1000;
let tried = 0;
let accepted = 0;
for (; Date.now() < until; tried++) {
  const bytes = mutate(corpus[random(corpus.length)]!);
  try {
    const started = performance.now();
    const result = decodePacket(bytes);
    if (performance.now() - started > 1000) throw new Error('slow');
    if (!result.ok) continue;
    accepted++;
    encodePacket(result.value);
    if (result.value.type === 4) for (const { header, body } of result.value.lsas) encodeLsa(header, body);
  } catch (error) {
    console.error(Buffer.from(bytes).toString('hex'));
    throw error;
  }
}
console.log(`${tried} packets, ${accepted} accepted`);
