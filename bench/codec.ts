/** Encoding and decoding of what a thousand hosts are on the wire, and the checks that come with it; nobody's peer. */
import { decodePacket, encodeLsa, LsaType, lsaWithAge, MaxAge, packUpdates } from 'node-ospf-lsa';
import { Framer } from '../src/bgp/codec/framer.ts';
import { hostNlri } from '../src/bgp/codec/nlri.ts';
import { packAnnouncements, packWithdrawals } from '../src/bgp/codec/packer.ts';
import { parseMessage } from '../src/bgp/codec/parser.ts';
import { type Address, ipv4ToNumber } from '../src/model/address.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';
import { hostAddress } from './rig.ts';

const HOSTS = 1000;
const WARM_UP = 200;
const HEADER = { routerId: 1, areaId: 0, cryptoSequence: 0, transmitDelay: 1 };
const PLAIN = { type: 'none' } as const;

export async function codec(options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 1000;
  const addresses = Array.from({ length: HOSTS }, (_, index) => hostAddress(index) as Address);
  const ids = addresses.map(ipv4ToNumber);
  const lsa = (linkStateId: number) =>
    encodeLsa(
      { age: 0, options: 2, type: LsaType.AsExternal, linkStateId, advertisingRouter: 1, sequence: -0x7fffffff },
      { kind: 'external', mask: 0xffffffff, metricType: 2, metric: 20, forwardingAddress: 0, tag: 0, tos: [] },
    );
  const lsas = ids.map(lsa);
  const raws = lsas.map(({ raw }) => raw);
  const updates = packUpdates(raws, 1480, HEADER, PLAIN);
  const routes = addresses.map((address) => ({ nlri: hostNlri(address) }));
  // ORIGIN IGP, AS_PATH 65001, NEXT_HOP 192.0.2.2.
  const attributes = Buffer.from('40010100400206020100 00fde9400304c0000202'.replaceAll(' ', ''), 'hex');
  const announcement = packAnnouncements(4, attributes, new Uint8Array(0), routes).bytes;
  const withdrawal = packWithdrawals(4, routes).bytes;
  const context = { fourOctetAs: true, families: new Set([4, 6] as const), external: true, remoteAs: 65001 };
  const parse = (bytes: Uint8Array) => {
    for (const frame of new Framer().push(bytes)) {
      const message = 'code' in frame ? frame : parseMessage(frame, context);
      if ('code' in message) throw new Error('what was encoded does not parse');
    }
  };
  const decode = () => {
    for (const bytes of updates) {
      if (!decodePacket(bytes, { authentication: PLAIN }).ok) throw new Error('what was encoded does not decode');
    }
  };
  const jobs: readonly (readonly [string, () => unknown])[] = [
    ['OSPF: originate LSAs, encode', () => ids.map(lsa)],
    ['OSPF: age LSAs to MaxAge', () => lsas.map((each) => lsaWithAge(each, MaxAge))],
    ['OSPF: pack updates, checksum', () => packUpdates(raws, 1480, HEADER, PLAIN)],
    ['OSPF: decode updates, check', decode],
    ['BGP: pack announcements', () => packAnnouncements(4, attributes, new Uint8Array(0), routes)],
    ['BGP: pack withdrawals', () => packWithdrawals(4, routes)],
    ['BGP: parse announcements', () => parse(announcement)],
    ['BGP: parse withdrawals', () => parse(withdrawal)],
  ];
  return {
    name: 'codec',
    measures: `thousands of hosts a second, ${HOSTS} at a time, after ${WARM_UP} rounds to warm up`,
    command: `./run bench codec --runs ${runs}`,
    rows: jobs.flatMap(([what, job]) => {
      options.onProgress(`codec: ${what}`);
      return row(what, 'khosts/s', throughput(job, runs));
    }),
    notes: ['medians are typical, max the best round; p99 is of little use for a throughput'],
  };
}

function throughput(job: () => unknown, runs: number): number[] {
  for (let round = 0; round < WARM_UP; round++) job();
  return Array.from({ length: runs }, () => {
    const start = performance.now();
    job();
    return HOSTS / (performance.now() - start);
  });
}
