import { z } from 'zod';
import { addressBytes, formatAddress, makePrefix, parseAddress, parseMac, parsePrefix } from '../model/address.ts';
import { expandPorts } from './port-list.ts';

/**
 * The words of the configuration: durations, addresses, ports. Each is checked by hand and not by zod's own checks, for
 * the sake of messages that say what is wrong with this value and what to write instead.
 */

interface Fault {
  readonly message: string;
  readonly remedy: string;
}

type Check = (value: unknown) => Fault | undefined;

/** Message of a missing value: the caller adds the path. */
export const MISSING = 'is missing';

export function scalar<T>(check: Check, remedy: string, json: object) {
  return z
    .custom<T>()
    .superRefine((value, context) => {
      const fault = value === undefined ? { message: MISSING, remedy: `Add it. ${remedy}` } : check(value);
      if (fault) context.addIssue({ code: 'custom', message: fault.message, params: { remedy: fault.remedy } });
    })
    .meta(json as Record<string, unknown>);
}

/** A value as it is shown in a message. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

// ------------------------------------------------------------------ durations

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds; undefined when `text` is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (!match) return undefined;
  const milliseconds = Number(match[1]) * UNITS[match[2]!]!;
  return Number.isSafeInteger(milliseconds) ? milliseconds : undefined;
}

/** Milliseconds of a duration that was checked before. */
export function milliseconds(text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw new TypeError(`an unchecked duration: ${text}`);
  return value;
}

export function formatDuration(value: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    if (value !== 0 && value % UNITS[unit]! === 0) return `${value / UNITS[unit]!}${unit}`;
  }
  return value === 0 ? '0s' : `${value}ms`;
}

export function duration(
  range: { readonly min?: string; readonly max?: string; readonly wholeSeconds?: boolean } = {},
) {
  const { min = '0s', max = '24h', wholeSeconds = false } = range;
  const example = wholeSeconds ? '1s or 10s' : '300ms, 5s or 2m';
  const remedy = `Write a number with a unit (ms, s, m, h, d), such as ${example}.`;
  return scalar<string>(
    (value) => {
      const parsed = typeof value === 'string' ? parseDuration(value) : undefined;
      if (parsed === undefined) return { message: `${shown(value)} is not a duration`, remedy };
      if (parsed < milliseconds(min) || parsed > milliseconds(max)) {
        return { message: `${value} is out of range`, remedy: `Write a duration from ${min} to ${max}.` };
      }
      if (wholeSeconds && parsed % 1_000 !== 0) {
        return {
          message: `${value} is not whole seconds`,
          remedy: 'The protocol carries this interval in seconds; for a quicker detection switch bfd on.',
        };
      }
      return undefined;
    },
    remedy,
    { type: 'string', pattern: DURATION.source, examples: wholeSeconds ? ['1s', '10s'] : ['300ms', '5s'] },
  );
}

// ------------------------------------------------------------------ addresses

export function address(family?: 4 | 6) {
  const example = family === 6 ? '2001:db8::1' : '192.0.2.1';
  const name = family ? `an IPv${family} address` : 'an address';
  const remedy = `Write ${name} such as ${example}.`;
  return scalar<string>(
    (value) => {
      const parsed = typeof value === 'string' ? parseAddress(value) : undefined;
      if (!parsed || (family && parsed.includes(':') !== (family === 6))) {
        return { message: `${shown(value)} is not ${name}`, remedy };
      }
      return undefined;
    },
    remedy,
    { type: 'string', examples: [example] },
  );
}

export function routerId() {
  const remedy = 'Write four numbers such as 10.255.0.1; every router needs its own.';
  return scalar<string>(
    (value) => {
      const parsed = typeof value === 'string' ? parseAddress(value) : undefined;
      if (!parsed || parsed.includes(':') || parsed === '0.0.0.0') {
        return { message: `${shown(value)} is not a router id`, remedy };
      }
      return undefined;
    },
    remedy,
    { type: 'string', format: 'ipv4', examples: ['10.255.0.1'] },
  );
}

/** OSPF area id: dotted, or a number as most routers take it too. */
export function areaId() {
  const remedy = 'Write an area id such as 0.0.0.0 or 0.';
  return scalar<string | number>(
    (value) => (parseArea(value) === undefined ? { message: `${shown(value)} is not an area id`, remedy } : undefined),
    remedy,
    {
      anyOf: [
        { type: 'string', format: 'ipv4' },
        { type: 'integer', minimum: 0, maximum: 0xffffffff },
      ],
    },
  );
}

export function parseArea(value: unknown): string | undefined {
  if (typeof value === 'number') {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) return undefined;
    return formatAddress(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }
  const parsed = typeof value === 'string' ? parseAddress(value) : undefined;
  return parsed && !parsed.includes(':') ? parsed : undefined;
}

export function prefix(family?: 4) {
  const remedy = family
    ? 'Write an IPv4 prefix such as 10.200.0.0/16.'
    : 'Write a prefix such as 10.10.10.0/24 or 2001:db8::/64.';
  return scalar<string>(
    (value) => {
      if (typeof value !== 'string') return { message: `${shown(value)} is not a prefix`, remedy };
      if (family && value.includes(':')) return { message: `${shown(value)} is not an IPv4 prefix`, remedy };
      if (parsePrefix(value)) return undefined;
      const meant = maskedPrefix(value);
      return meant
        ? { message: `${value} has host bits set`, remedy: `Write ${meant}, or the prefix that you mean.` }
        : { message: `${shown(value)} is not a prefix`, remedy };
    },
    remedy,
    { type: 'string', examples: ['10.10.10.0/24'] },
  );
}

function maskedPrefix(text: string): string | undefined {
  const [addressText, lengthText, ...rest] = text.split('/');
  const parsed = parseAddress(addressText ?? '');
  if (!parsed || rest.length > 0 || !/^\d{1,3}$/.test(lengthText ?? '')) return undefined;
  const bytes = addressBytes(parsed);
  const length = Number(lengthText);
  return length <= bytes.length * 8 ? makePrefix(bytes, length) : undefined;
}

export function mac() {
  const remedy = 'Write six octets such as 02:00:5e:10:00:01.';
  return scalar<string>(
    (value) =>
      typeof value === 'string' && parseMac(value)
        ? undefined
        : { message: `${shown(value)} is not a MAC address`, remedy },
    remedy,
    { type: 'string', pattern: '^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$' },
  );
}

// ------------------------------------------------------------------ ports

const PORT_REMEDY = 'Write the name of an interface as `ip link` shows it.';
const PORTS_REMEDY = "Write a list of interfaces; ranges are allowed, in quotes inside [...]: ['swp[1-48]'].";

export function port() {
  return scalar<string>(
    (value) => {
      const expanded = typeof value === 'string' ? expandPorts(value) : undefined;
      if (!expanded) return { message: `${shown(value)} is not the name of an interface`, remedy: PORT_REMEDY };
      if ('message' in expanded) return expanded;
      if (expanded.length !== 1)
        return { message: `${value} is ${expanded.length} interfaces`, remedy: 'Name one only.' };
      return undefined;
    },
    PORT_REMEDY,
    { type: 'string', minLength: 1, maxLength: 15 },
  );
}

/** One text or a list of texts, each a name or a range; no port twice. */
export function ports(options: { readonly allowEmpty?: boolean } = {}) {
  return z
    .custom<string | string[]>()
    .superRefine((value, context) => {
      const fault = (fault: Fault, path: (string | number)[] = []) =>
        context.addIssue({ code: 'custom', message: fault.message, path, params: { remedy: fault.remedy } });
      if (value === undefined) return fault({ message: MISSING, remedy: `Add it. ${PORTS_REMEDY}` });
      const list = typeof value === 'string' ? [value] : value;
      if (!Array.isArray(list)) {
        return fault({ message: `${shown(value)} is not a list of interfaces`, remedy: PORTS_REMEDY });
      }
      if (list.length === 0 && !options.allowEmpty) {
        return fault({ message: 'names no interface', remedy: PORTS_REMEDY });
      }
      const seen = new Set<string>();
      for (const [index, item] of list.entries()) {
        const path = typeof value === 'string' ? [] : [index];
        const expanded = typeof item === 'string' ? expandPorts(item) : undefined;
        if (!expanded) fault({ message: `${shown(item)} is not the name of an interface`, remedy: PORTS_REMEDY }, path);
        else if ('message' in expanded) fault(expanded, path);
        else {
          const twice = expanded.find((name) => seen.has(name));
          if (twice) fault({ message: `${twice} is in the list twice`, remedy: 'Remove one of the two.' }, path);
          for (const name of expanded) seen.add(name);
        }
      }
    })
    .meta({
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: options.allowEmpty ? 0 : 1 }],
      examples: [['swp[1-48]'], ['A1', 'A2']],
    });
}

// ------------------------------------------------------------------ numbers and names

export function integer(min: number, max: number, what = 'a whole number') {
  const remedy = `Write ${what} from ${min} to ${max}.`;
  return scalar<number>(
    (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
        ? undefined
        : {
            message:
              typeof value === 'number' && Number.isInteger(value)
                ? `${value} is out of range`
                : `${shown(value)} is not ${what}`,
            remedy,
          },
    remedy,
    { type: 'integer', minimum: min, maximum: max },
  );
}

/** RFC 6793 numbers; 0 (RFC 7607) and AS_TRANS 23456 can't be anybody's. */
export function asNumber() {
  const remedy = 'Write the AS number, 1 to 4294967295 (65000 to 65534 are for private use).';
  return scalar<number>(
    (value) => (isAsNumber(value) ? undefined : { message: `${shown(value)} is not an AS number`, remedy }),
    remedy,
    { type: 'integer', minimum: 1, maximum: 0xffffffff },
  );
}

const isAsNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 0xffffffff && value !== 23456;

/** The AS number of a neighbour that we name: a number, or `internal` for our own. */
export function neighborAs() {
  const remedy = "Write the neighbour's AS number, or internal when it is ours.";
  return scalar<number | 'internal'>(
    (value) =>
      value === 'internal' || isAsNumber(value)
        ? undefined
        : { message: `${shown(value)} is not an AS number`, remedy },
    remedy,
    { anyOf: [{ const: 'internal' }, { type: 'integer', minimum: 1, maximum: 0xffffffff }] },
  );
}

/** The AS number of neighbours that we don't name. */
export function rangeAs() {
  const remedy = 'Write an AS number, or external (any but ours) or internal (ours).';
  return scalar<number | 'external' | 'internal'>(
    (value) =>
      value === 'external' || value === 'internal' || isAsNumber(value)
        ? undefined
        : { message: `${shown(value)} is not an AS number`, remedy },
    remedy,
    { anyOf: [{ enum: ['external', 'internal'] }, { type: 'integer', minimum: 1, maximum: 0xffffffff }] },
  );
}

/** `all`, a number of ports, or `N%`. */
export function shutAmount() {
  const remedy = 'Write all, a number of ports such as 4, or a share such as 50%.';
  return scalar<'all' | number | `${number}%`>(
    (value) => {
      if (value === 'all') return undefined;
      if (typeof value === 'number' && Number.isInteger(value) && value >= 1) return undefined;
      const share = typeof value === 'string' ? /^(\d{1,3})%$/.exec(value) : null;
      if (share && Number(share[1]) >= 1 && Number(share[1]) <= 100) return undefined;
      return { message: `${shown(value)} is not an amount of ports`, remedy };
    },
    remedy,
    { anyOf: [{ const: 'all' }, { type: 'integer', minimum: 1 }, { type: 'string', pattern: '^([1-9][0-9]?|100)%$' }] },
  );
}

/** RFC 1997 `asn:value`, RFC 8092 `global:local1:local2`, or a well-known name. */
export function community() {
  const remedy = "Write 'asn:value' with both from 0 to 65535, or 'asn:a:b' for a large community.";
  const NAMES = ['no-export', 'no-advertise', 'graceful-shutdown'];
  return scalar<string>(
    (value) => {
      const parts = typeof value === 'string' ? value.split(':') : [];
      const most = parts.length === 3 ? 0xffffffff : 65535;
      const numbers = parts.every((part) => /^\d{1,10}$/.test(part) && Number(part) <= most);
      if ((parts.length === 2 || parts.length === 3) && numbers) return undefined;
      if (typeof value === 'string' && NAMES.includes(value)) return undefined;
      return { message: `${shown(value)} is not a community`, remedy };
    },
    remedy,
    { type: 'string', examples: ['65001:100'] },
  );
}

export function filePath(what: string, example: string) {
  const remedy = `Write ${what} with its full path, such as ${example}.`;
  return scalar<string>(
    (value) =>
      typeof value === 'string' && value.startsWith('/') && !value.includes('\0')
        ? undefined
        : { message: `${shown(value)} is not a full path`, remedy },
    remedy,
    { type: 'string', pattern: '^/', examples: [example] },
  );
}

/** `ADDRESS:PORT` or `[IPV6]:PORT`. */
export function listenAddress() {
  const remedy = 'Write an address and a port such as 127.0.0.1:9470, or null for none.';
  return scalar<string>(
    (value) =>
      typeof value === 'string' && parseListen(value)
        ? undefined
        : { message: `${shown(value)} is not an address with a port`, remedy },
    remedy,
    { type: 'string', examples: ['127.0.0.1:9470', '[::1]:9470'] },
  );
}

export function parseListen(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match && parseAddress(match[1] ?? match[2]!);
  const port = Number(match?.[3]);
  return host && port >= 1 && port <= 65535 ? { host, port } : undefined;
}

/** A Unix socket's path, or `HOST:PORT`. */
export function redisAddress() {
  const remedy = 'Write the path of its socket such as /var/run/redis/redis.sock, or host:port such as 127.0.0.1:6379.';
  return scalar<string>(
    (value) => {
      const fits = typeof value === 'string' && (/^\/[^\0]+$/.test(value) || /^[^\s/]+:\d{1,5}$/.test(value));
      return fits ? undefined : { message: `${shown(value)} is not the address of a Redis`, remedy };
    },
    remedy,
    { type: 'string', examples: ['/var/run/redis/redis.sock', '127.0.0.1:6379'] },
  );
}

export function groupName() {
  const remedy = 'Write a short name of letters, digits, dots, dashes and underscores.';
  return scalar<string>(
    (value) =>
      typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(value)
        ? undefined
        : { message: `${shown(value)} can't be a name`, remedy },
    remedy,
    { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' },
  );
}
