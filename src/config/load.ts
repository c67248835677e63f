import { readFileSync } from 'node:fs';
import { type Document, isMap, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import type { Partly } from './checks/partly.ts';
import { check } from './checks.ts';
import { explain } from './explain.ts';
import { portsWithIndex } from './port-list.ts';
import { type Finding, formatPath, locate, type Path, type Problem } from './problem.ts';
import { resolve } from './resolve.ts';
import { shown } from './scalars.ts';
import { groupSchema, SCHEMAS, type Settings } from './schema.ts';
import { instanceSchema, networkSchema, remoteSchema, ruleSchema, serviceSchema, snatSchema } from './schema-host.ts';
import { readSecret } from './secrets.ts';
import type { Config } from './types.ts';

export interface Loaded {
  readonly ok: true;
  readonly file: string;
  readonly text: string;
  readonly config: Config;
  /** The file's own shape with all defaults filled in; holds no secret. */
  readonly settings: Settings;
  readonly document: Document;
  readonly lines: LineCounter;
}

export interface Refused {
  readonly ok: false;
  readonly problems: readonly Problem[];
}

/** More than any configuration: a file by mistake. */
const MOST_BYTES = 4 * 1024 * 1024;

/** Reads and checks a file; every problem is reported, not the first alone. Never throws for what is in the file. */
export function loadConfig(file: string): Loaded | Refused {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    const missing = code === 'ENOENT';
    return refuse({
      file,
      line: 1,
      column: 1,
      path: '',
      message: missing ? 'there is no such file' : `the file can't be read (${code})`,
      remedy: missing
        ? 'Write one (docs/peerless.example.yaml is a start), or name another.'
        : 'Correct its permissions.',
    });
  }
  return parseConfig(text, file);
}

/** As `loadConfig`, for a text that isn't in the file yet. Secrets are read from where the text says. */
export function parseConfig(text: string, file: string): Loaded | Refused {
  if (text.length > MOST_BYTES) {
    return refuse({
      file,
      line: 1,
      column: 1,
      path: '',
      message: 'the file is too large',
      remedy: `Keep it under ${MOST_BYTES} bytes.`,
    });
  }
  const lines = new LineCounter();
  // Silent, the parser would take the first of several documents, and say nothing of the others.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  if (document.errors.length > 0)
    return { ok: false, problems: document.errors.map((error) => yamlProblem(error, text, file, lines)) };
  const found = examine(document);
  if ('findings' in found) {
    const problems = found.findings.map((finding) => locate(finding, file, document, lines));
    problems.sort((a, b) => a.line - b.line || a.column - b.column);
    return { ok: false, problems };
  }
  return { ok: true, file, text, document, lines, ...found };
}

const refuse = (problem: Problem): Refused => ({ ok: false, problems: [problem] });

function examine(document: Document): { config: Config; settings: Settings } | { findings: Finding[] } {
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return {
      findings: [{ path: [], message: (error as Error).message, remedy: 'Write the values out instead of aliases.' }],
    };
  }
  if (!isMap(document.contents)) {
    return {
      findings: [
        {
          path: [],
          message: raw === null || raw === undefined ? 'the file is empty' : 'the file is not a group of keys',
          remedy: 'Begin with `role: tor`; docs/peerless.example.yaml shows the rest.',
        },
      ],
    };
  }
  const role = (raw as { role?: unknown }).role;
  if (role !== 'tor' && role !== 'gateway' && role !== 'host') return { findings: [roleFinding(role)] };
  const schema = SCHEMAS[role];
  const parsed = schema.safeParse(raw);
  const findings = parsed.success ? [] : explain(parsed.error.issues, raw, (path) => keysOf(schema, path));
  const partly = (parsed.success ? parsed.data : parseParts(schema, raw as Record<string, unknown>)) as Partly;
  findings.push(...check(partly));
  const secrets = new Map<string, Uint8Array>();
  findings.push(...readSecrets(partly, secrets));
  if (!parsed.success || findings.length > 0) return { findings };
  return { settings: parsed.data, config: resolve(parsed.data, secrets) };
}

function roleFinding(role: unknown): Finding {
  const path = ['role'];
  if (role === undefined) {
    const remedy =
      'Write role: tor on a switch, role: gateway upstream of it, role: host on a host of VMs or containers.';
    return { path, message: 'is missing', remedy };
  }
  return { path, message: `${shown(role)} is not a role`, remedy: 'Write tor, gateway or host.' };
}

const HOST_LISTS: Readonly<Record<string, z.ZodType>> = {
  networks: networkSchema,
  instances: instanceSchema,
  remotes: remoteSchema,
  services: serviceSchema,
  snat: snatSchema,
};

/** Each section by itself: those that are right can be checked further though others aren't. */
function parseParts(
  schema: (typeof SCHEMAS)[keyof typeof SCHEMAS],
  raw: Record<string, unknown>,
): Record<string, unknown> {
  const parts: Record<string, unknown> = {};
  for (const [key, section] of Object.entries(schema.shape) as [string, z.ZodType][]) {
    const item = schema === SCHEMAS.host ? HOST_LISTS[key] : key === 'portLink' ? groupSchema : undefined;
    const list = raw[key];
    if (item && Array.isArray(list)) {
      parts[key] = list.map((entry: unknown) => item.safeParse(entry).data);
    } else if (key === 'policy' && Array.isArray((list as { rules?: unknown } | undefined)?.rules)) {
      const { rules } = list as { rules: unknown[] };
      parts.policy = { rules: rules.map((rule) => ruleSchema.safeParse(rule).data) };
    } else {
      const result = section.safeParse(raw[key]);
      if (result.success) parts[key] = result.data;
    }
  }
  return parts;
}

/** The keys that a section has, for a suggestion. */
function keysOf(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: z.ZodType | undefined = schema;
  for (const part of path) {
    current = unwrap(current);
    const definition = current?.def as unknown as
      | { shape?: Record<string, z.ZodType>; element?: z.ZodType }
      | undefined;
    current = typeof part === 'number' ? definition?.element : definition?.shape?.[String(part)];
  }
  const shape = (unwrap(current)?.def as unknown as { shape?: Record<string, unknown> } | undefined)?.shape;
  return Object.keys(shape ?? {});
}

function unwrap(schema: z.ZodType | undefined): z.ZodType | undefined {
  let current = schema;
  for (;;) {
    const { innerType, options } = (current?.def ?? {}) as { innerType?: z.ZodType; options?: z.ZodType[] };
    // Of a choice between a plain value and a group of keys the latter has keys.
    const inner = innerType ?? options?.find(({ def }) => 'shape' in def);
    if (!inner) return current;
    current = inner;
  }
}

function readSecrets(settings: Partly, secrets: Map<string, Uint8Array>): Finding[] {
  if (settings.role === 'host') return [];
  const wanted: { path: Path; file: string; most: number | undefined }[] = [];
  for (const [index, entry] of (settings.ospf?.interfaces ?? []).entries()) {
    if (!entry.authentication) continue;
    const { type, secretFile } = entry.authentication;
    // RFC 2328 §D.3: 64 bits; §D.4.3: 16 octets.
    const most = type === 'simple' ? 8 : type === 'md5' ? 16 : undefined;
    wanted.push({ path: ['ospf', 'interfaces', index, 'authentication', 'secretFile'], file: secretFile, most });
  }
  for (const [index, entry] of (settings.bgp?.neighbors ?? []).entries()) {
    // TCP_MD5SIG_MAXKEYLEN
    if (entry.passwordFile !== undefined)
      wanted.push({ path: ['bgp', 'neighbors', index, 'passwordFile'], file: entry.passwordFile, most: 80 });
  }
  return wanted.flatMap(({ path, file, most }) => {
    const result = readSecret(file, most);
    if ('message' in result) return [{ path, ...result }];
    secrets.set(file, result.secret);
    return [];
  });
}

/** Every port that the configuration names, with its place in the settings. */
function namedPorts(settings: Settings): { port: string; path: Path }[] {
  const named: { port: string; path: Path }[] = [];
  const list = (ports: string | readonly string[] | undefined, path: Path) => {
    for (const { port, index } of portsWithIndex(ports ?? []))
      named.push({ port, path: index === undefined ? path : [...path, index] });
  };
  if (settings.role === 'tor') {
    list(settings.hostRoutes.ports, ['hostRoutes', 'ports']);
    for (const [index, group] of settings.portLink.entries()) {
      list(group.uplinks, ['portLink', index, 'uplinks']);
      list(group.downlinks, ['portLink', index, 'downlinks']);
    }
  }
  // An instance's interface comes and goes with it.
  if (settings.role === 'host') return [{ port: settings.underlay.device, path: ['underlay', 'device'] }];
  for (const [index, entry] of (settings.ospf?.interfaces ?? []).entries()) {
    named.push({ port: entry.name, path: ['ospf', 'interfaces', index, 'name'] });
  }
  return named;
}

/**
 * Ports of the configuration that the box doesn't have. Not part of `loadConfig`: a port may come later (a VM's, a
 * line card's), and a configuration may be checked on another box.
 */
export function missingPorts(loaded: Loaded, existing: ReadonlySet<string>): Problem[] {
  const near = [...existing].filter((name) => name !== 'lo').sort();
  const there = near.length > 12 ? `${near.slice(0, 12).join(', ')} and ${near.length - 12} more` : near.join(', ');
  // One problem a place: a range of 48 ports on the wrong box is one mistake.
  const places = new Map<string, { path: Path; ports: string[] }>();
  for (const { port, path } of namedPorts(loaded.settings)) {
    if (existing.has(port)) continue;
    const place = places.get(formatPath(path)) ?? { path, ports: [] };
    place.ports.push(port);
    places.set(formatPath(path), place);
  }
  return [...places.values()].map(({ path, ports }) => {
    const finding = {
      path,
      message: `there is no interface ${ports.join(', ')}`,
      remedy: `Correct the name (there are ${there || 'none'}), or check with --offline.`,
    };
    return locate(finding, loaded.file, loaded.document, loaded.lines);
  });
}

/** What a box has, by which a file is known to be its own. */
export interface OnBox {
  readonly interfaces: ReadonlySet<string>;
  readonly addresses: ReadonlySet<string>;
}

/**
 * Nothing of what it names is on this box: it is another's, as far as can be told. One name that is missing, or one range,
 * may be a slip of the pen; a host names but one, and its address.
 */
export function isOfAnotherBox({ settings }: Loaded, { interfaces, addresses }: OnBox): boolean {
  const named = namedPorts(settings);
  if (named.some(({ port }) => interfaces.has(port))) return false;
  if (settings.role === 'host') return !addresses.has(settings.underlay.address);
  return new Set(named.map(({ port }) => port)).size > 1 && new Set(named.map(({ path }) => formatPath(path))).size > 1;
}

function yamlProblem(
  error: { code: string; message: string; pos: [number, number] },
  text: string,
  file: string,
  lines: LineCounter,
): Problem {
  const { line, col } = lines.linePos(error.pos[0]);
  const source = text.split('\n')[line - 1] ?? '';
  const place = { file, line: Math.max(1, line), column: Math.max(1, col), path: '' };
  if (error.code === 'MULTIPLE_DOCS') {
    const remedy = 'A file is one configuration: remove the line ---, or what comes after it.';
    return { ...place, message: 'a second document begins here', remedy };
  }
  if (error.code === 'DUPLICATE_KEY') {
    const key = /^["']?([\w-]+)/.exec(source.slice(col - 1))?.[1] ?? 'a key';
    return { ...place, message: `${key} is here twice`, remedy: 'Remove one of the two.' };
  }
  const message = error.message.split('\n')[0]!.replace(/\.$/, '');
  const range = /[\w.-]+\[\d[\d,-]*\][\w.-]*/.exec(source);
  const remedy = range
    ? `Put port ranges in quotes inside [...]: ['${range[0]}'].`
    : source.includes('\t')
      ? 'Indent with spaces, not tabs.'
      : 'Correct the YAML here: check indentation, quotes and brackets.';
  return { ...place, message, remedy };
}
