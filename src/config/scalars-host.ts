import { parseAddress, parsePrefix } from '../model/address.ts';
import type { PortRange } from '../model/overlay.ts';
import { scalar, shown } from './scalars.ts';

/** The words of the host role: where a rule applies, ports, protocols, rates, backends. IPv4, as its networks are. */

const ipv4 = (text: string): boolean => !text.includes(':');

/** `any`, an address or a prefix. */
export function endpoint() {
  const remedy = 'Write any, an IPv4 address, or a prefix such as 10.200.1.0/24.';
  return scalar<string>(
    (value) =>
      typeof value === 'string' && (value === 'any' || (ipv4(value) && (parseAddress(value) ?? parsePrefix(value))))
        ? undefined
        : { message: `${shown(value)} is neither any, an address nor a prefix`, remedy },
    remedy,
    { type: 'string', examples: ['any', '10.200.1.2', '10.200.1.0/24'] },
  );
}

/** `23` or `8000-8100`. */
export function portRange() {
  const remedy = 'Write a port such as 23, or a range such as 8000-8100.';
  return scalar<number | string>(
    (value) =>
      parsePortRange(value) ? undefined : { message: `${shown(value)} is neither a port nor a range`, remedy },
    remedy,
    {
      anyOf: [
        { type: 'integer', minimum: 1, maximum: 65_535 },
        { type: 'string', pattern: '^\\d+-\\d+$' },
      ],
    },
  );
}

export function parsePortRange(value: unknown): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(
    typeof value === 'number' ? String(value) : typeof value === 'string' ? value : '',
  );
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  ospf: 89,
  sctp: 132,
};

export function protocol() {
  const remedy = `Write any, one of ${Object.keys(PROTOCOLS).join(', ')}, or a number from 1 to 255.`;
  return scalar<number | string>(
    (value) =>
      parseProtocol(value) === undefined ? { message: `${shown(value)} is not a protocol`, remedy } : undefined,
    remedy,
    { anyOf: [{ enum: ['any', ...Object.keys(PROTOCOLS)] }, { type: 'integer', minimum: 1, maximum: 255 }] },
  );
}

export function parseProtocol(value: unknown): number | 'any' | undefined {
  if (value === 'any') return value;
  if (typeof value === 'string' && Object.hasOwn(PROTOCOLS, value)) return PROTOCOLS[value];
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 255 ? value : undefined;
}

/** The name that the file would use, or the number. */
export function protocolName(number: number | 'any'): string {
  return Object.entries(PROTOCOLS).find(([, value]) => value === number)?.[0] ?? String(number);
}

const RATE_UNITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const LEAST_RATE = 8_000;
const MOST_RATE = 1e12;

/** As tc writes them: `100mbit`. */
export function rate() {
  const remedy = 'Write a rate from 8kbit to 1000gbit, such as 100mbit.';
  return scalar<string>(
    (value) => (parseRate(value) === undefined ? { message: `${shown(value)} is not a rate`, remedy } : undefined),
    remedy,
    { type: 'string', pattern: '^\\d+(\\.\\d+)?([kmg]?bit)$', examples: ['100mbit'] },
  );
}

/** Bits per second. */
export function parseRate(value: unknown): number | undefined {
  const match = typeof value === 'string' ? /^(\d{1,15}(?:\.\d{1,6})?)([kmg]?bit)$/.exec(value) : null;
  const bits = match ? Math.round(Number(match[1]) * RATE_UNITS[match[2]!]!) : Number.NaN;
  return bits >= LEAST_RATE && bits <= MOST_RATE ? bits : undefined;
}

export function formatRate(bits: number): string {
  for (const unit of ['gbit', 'mbit', 'kbit'])
    if (bits % RATE_UNITS[unit]! === 0) return `${bits / RATE_UNITS[unit]!}${unit}`;
  return `${bits}bit`;
}

/** `10.200.1.2:8080` */
export function backend() {
  const remedy = 'Write an address and a port such as 10.200.1.2:8080.';
  return scalar<string>(
    (value) => (parseBackend(value) ? undefined : { message: `${shown(value)} is not an address with a port`, remedy }),
    remedy,
    { type: 'string', examples: ['10.200.1.2:8080'] },
  );
}

export function parseBackend(value: unknown) {
  const match = typeof value === 'string' ? /^([\d.]+):(\d{1,5})$/.exec(value) : null;
  const address = match && parseAddress(match[1]!);
  const port = Number(match?.[2]);
  return address && port >= 1 && port <= 65_535 ? { address, port } : undefined;
}

/** The URL of an etcd server. */
export function serverUrl() {
  const remedy = 'Write it as http://192.0.2.1:2379 or https://...';
  return scalar<string>(
    (value) =>
      typeof value === 'string' && /^https?:\/\/[^\s/]+\/?$/.test(value) && URL.canParse(value)
        ? undefined
        : { message: `${shown(value)} is not the URL of a server`, remedy },
    remedy,
    { type: 'string', pattern: '^https?://', examples: ['http://192.0.2.1:2379'] },
  );
}
