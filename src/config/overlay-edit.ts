import { parseDocument } from 'yaml';
import type { z } from 'zod';
import type { OverlayOrigin, OverlayPolicy } from '../model/overlay.ts';
import { type OverlayItems, type OverlayKind, overlayKey } from '../model/overlay-items.ts';
import { explain } from './explain.ts';
import { type Loaded, parseConfig, type Refused } from './load.ts';
import { type Finding, formatPath } from './problem.ts';
import {
  resolveInstance,
  resolveNetwork,
  resolveRemote,
  resolveRule,
  resolveService,
  resolveSnat,
} from './resolve-host.ts';
import {
  instanceSchema,
  networkSchema,
  policyHead,
  remoteSchema,
  ruleSchema,
  serviceSchema,
  snatSchema,
} from './schema-host.ts';
import { editText, type FileEdit, type Raw, rawList, type Section } from './splice.ts';

/** What is changed in the overlay at run time: read as the file would be, and written back into it. */

const SECTIONS: { readonly [K in OverlayKind]: Section } = {
  network: ['networks'],
  instance: ['instances'],
  remote: ['remotes'],
  service: ['services'],
  rule: ['policy', 'rules'],
  snat: ['snat'],
};

const SCHEMAS: { readonly [K in OverlayKind]: z.ZodObject } = {
  network: networkSchema,
  instance: instanceSchema,
  remote: remoteSchema,
  service: serviceSchema,
  rule: ruleSchema,
  snat: snatSchema,
};

export interface ItemOf<K extends OverlayKind> {
  readonly ok: true;
  readonly item: OverlayItems[K];
}

export interface Unreadable {
  readonly ok: false;
  /** `address: what is wrong. Remedy.`, a line each. */
  readonly message: string;
}

/** One item in the file's own words, with the file's own defaults. */
export function readItem<K extends OverlayKind>(kind: K, raw: unknown, origin: OverlayOrigin): ItemOf<K> | Unreadable {
  const schema = SCHEMAS[kind];
  const parsed = schema.safeParse(raw);
  if (!parsed.success) return unreadable(explain(parsed.error.issues, raw, () => Object.keys(schema.shape)));
  return { ok: true, item: resolved(kind, parsed.data, origin) as OverlayItems[K] };
}

function resolved(kind: OverlayKind, settings: unknown, origin: OverlayOrigin): OverlayItems[OverlayKind] {
  switch (kind) {
    case 'network':
      return resolveNetwork(settings as Parameters<typeof resolveNetwork>[0]);
    case 'instance':
      return resolveInstance(settings as Parameters<typeof resolveInstance>[0], origin);
    case 'remote':
      return resolveRemote(settings as Parameters<typeof resolveRemote>[0], origin);
    case 'service':
      return resolveService(settings as Parameters<typeof resolveService>[0]);
    case 'rule':
      return resolveRule(settings as Parameters<typeof resolveRule>[0]);
    default:
      return resolveSnat(settings as Parameters<typeof resolveSnat>[0]);
  }
}

/** `default` and `initiate`, each if it is given. */
export function readPolicy(raw: unknown): { readonly ok: true; readonly head: Partial<Head> } | Unreadable {
  const schema = policyHead.strict();
  const parsed = schema.safeParse(raw);
  if (!parsed.success) return unreadable(explain(parsed.error.issues, raw, () => Object.keys(schema.shape)));
  const given = raw as Record<string, unknown>;
  return { ok: true, head: Object.fromEntries(Object.entries(parsed.data).filter(([key]) => key in given)) };
}

type Head = Pick<OverlayPolicy, 'default' | 'initiate'>;

const unreadable = (findings: readonly Finding[]): Unreadable => ({
  ok: false,
  message: findings
    .map(({ path, message, remedy }) => `${path.length === 0 ? '' : `${formatPath(path)}: `}${message}. ${remedy}`)
    .join('\n'),
});

export type OverlayFileEdit =
  | { readonly op: 'add' | 'set'; readonly kind: OverlayKind; readonly raw: Raw }
  | { readonly op: 'remove'; readonly kind: OverlayKind; readonly key: string }
  | { readonly op: 'policy'; readonly settings: Partial<Head> };

/** Works out the file after the edits and checks it as a whole; writes nothing. What is not in the file isn't removed. */
export function planOverlayEdit(
  before: Loaded,
  edits: readonly OverlayFileEdit[],
): { readonly ok: true; readonly after: Loaded } | Refused {
  let { text, document }: Pick<Loaded, 'text' | 'document'> = before;
  for (const edit of edits) {
    for (const step of fileEdits(document.toJS(), edit)) {
      text = editText({ text, document }, step);
      document = parseDocument(text, { logLevel: 'silent' });
    }
  }
  const after = parseConfig(text, before.file);
  return after.ok ? { ok: true, after } : after;
}

function fileEdits(raw: unknown, edit: OverlayFileEdit): FileEdit[] {
  if (edit.op === 'policy') return [{ type: 'keys', section: ['policy'], settings: { ...edit.settings } }];
  const section = SECTIONS[edit.kind];
  const key = edit.op === 'remove' ? edit.key : keyOfRaw(edit.kind, edit.raw);
  const index = rawList(raw, section).findIndex((item) => keyOfRaw(edit.kind, item) === key);
  if (edit.op === 'remove') return index < 0 ? [] : [{ type: 'remove', section, index }];
  if (index < 0 || edit.op === 'add') return [{ type: 'add', section, item: edit.raw }];
  return [{ type: 'set', section, index, settings: edit.raw }];
}

function keyOfRaw(kind: OverlayKind, raw: Raw): string | undefined {
  const read = readItem(kind, raw, 'configuration');
  return read.ok ? overlayKey(kind, read.item) : undefined;
}
