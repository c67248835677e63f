import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isMap, isScalar, isSeq, type Node, type Pair, parseDocument, stringify, YAMLMap, type YAMLSeq } from 'yaml';
import { type Loaded, parseConfig, type Refused } from './load.ts';
import { locate, type Problem } from './problem.ts';
import type { GroupSettings } from './schema.ts';

/**
 * Changes of port-link groups, written back into the operator's file.
 *
 * The file is theirs: what isn't changed stays byte for byte, comments and alignment included. So a change is spliced
 * into the text where the parser says the old value stands. The result is parsed again and must say exactly what was
 * asked; where a splice can't be right (anchors, block lists with comments inside) the YAML document is edited as a
 * tree and printed anew, which keeps the comments but may move white space.
 */

/** Keys as in the file: durations as text, port lists with ranges if one likes. */
export type GroupEdit = {
  readonly [Key in Exclude<keyof GroupSettings, 'name'>]?: GroupSettings[Key] extends (infer Item)[]
    ? readonly Item[]
    : GroupSettings[Key] extends string | (infer Item)[]
      ? GroupSettings[Key] | readonly Item[]
      : GroupSettings[Key];
};

export type PortLinkEdit =
  | { readonly type: 'add'; readonly name: string; readonly settings: GroupEdit }
  | { readonly type: 'set'; readonly name: string; readonly settings: GroupEdit }
  | { readonly type: 'remove'; readonly name: string };

export interface PlannedEdit {
  readonly ok: true;
  /** The configuration as it would be; `after.text` is the text to save. */
  readonly after: Loaded;
}

export interface RefusedEdit extends Refused {
  /** `exists`, `missing`: the name of the group; `invalid`: the settings, see the problems. */
  readonly reason: 'exists' | 'missing' | 'invalid';
}

/** The operator's edit goes before ours. */
export class ChangedMeanwhile extends Error {}

/** Works out the file after an edit and checks it as a whole; writes nothing. */
export function planEdit(before: Loaded, edit: PortLinkEdit): PlannedEdit | RefusedEdit {
  const groups = rawGroups(before.document.toJS());
  const index = groups.findIndex((group) => group.name === edit.name);
  if (edit.type === 'add' ? index >= 0 : index < 0) {
    const reason = index >= 0 ? 'exists' : 'missing';
    return { ok: false, reason, problems: [nameProblem(before, edit, index, groups)] };
  }
  if (edit.type !== 'remove' && 'name' in edit.settings) {
    const finding = {
      path: ['portLink', index],
      message: "a group's name stays",
      remedy: 'Add a group with the new name and remove this one.',
    };
    return { ok: false, reason: 'invalid', problems: [locate(finding, before.file, before.document, before.lines)] };
  }
  const wanted = structuredClone(before.document.toJS()) as Record<string, unknown>;
  wanted.portLink = editedGroups(groups, index, edit);
  const text = splice(before, edit, index, wanted) ?? print(before, wanted, edit, index);
  const after = parseConfig(text, before.file);
  return after.ok ? { ok: true, after } : { ...after, reason: 'invalid' };
}

/**
 * Replaces the file at once (write, fsync, rename), keeping owner and mode; through a symlink its target is replaced.
 * @throws ChangedMeanwhile when the file isn't what `before` was read from any more
 * @throws Error when it can't be written
 */
export function saveConfig(before: Loaded, after: Loaded): void {
  const file = realpathSync(before.file);
  if (readFileSync(file, 'utf8') !== before.text) {
    throw new ChangedMeanwhile(`${before.file} was changed by someone else since it was loaded: reload first`);
  }
  const status = statSync(file);
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.new`);
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(fd, after.text);
    // Owner before mode: chown clears the set-id bits and may narrow who can read meanwhile, never widen.
    if (status.uid !== process.getuid?.() || status.gid !== process.getgid?.()) fchownSync(fd, status.uid, status.gid);
    fchmodSync(fd, status.mode & 0o7777);
    fsyncSync(fd);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  const directory = openSync(dirname(file), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

type Raw = Record<string, unknown>;

const rawGroups = (raw: unknown): Raw[] => ((raw as { portLink?: Raw[] | null }).portLink ?? []) as Raw[];

function editedGroups(groups: readonly Raw[], index: number, edit: PortLinkEdit): Raw[] {
  if (edit.type === 'add') return [...groups, { name: edit.name, ...edit.settings }];
  if (edit.type === 'remove') return groups.filter((_, at) => at !== index);
  return groups.map((group, at) => (at === index ? { ...group, ...edit.settings } : group));
}

function nameProblem(before: Loaded, edit: PortLinkEdit, index: number, groups: readonly Raw[]): Problem {
  const names = groups.map((group) => String(group.name)).join(', ') || 'none';
  const finding =
    edit.type === 'add'
      ? {
          path: ['portLink', index],
          message: `there is a group ${edit.name} already`,
          remedy: 'Choose another name, or use set.',
        }
      : { path: ['portLink'], message: `there is no group ${edit.name}`, remedy: `Choose one of: ${names}.` };
  return locate(finding, before.file, before.document, before.lines);
}

// ------------------------------------------------------------------ splicing

function splice(before: Loaded, edit: PortLinkEdit, index: number, wanted: Raw): string | undefined {
  const list = before.document.get('portLink', true);
  const text =
    edit.type === 'add'
      ? spliceAdd(before.text, list, edit)
      : !isSeq(list)
        ? undefined
        : edit.type === 'remove'
          ? spliceRemove(before.text, list, index)
          : spliceSet(before.text, list.items[index], edit.settings);
  if (text === undefined) return undefined;
  const result = parseDocument(text, { logLevel: 'silent' });
  return result.errors.length === 0 && isDeepStrictEqual(result.toJS(), wanted) ? text : undefined;
}

const flow = (value: unknown): string =>
  stringify(value, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 }).trimEnd();

/** The value stands on one line in the file and ends where the next thing begins. */
function spliceSet(source: string, group: unknown, settings: GroupEdit): string | undefined {
  if (!isMap(group) || !group.range) return undefined;
  let text = source;
  const edits: { from: number; to: number; text: string }[] = [];
  const fresh: [string, unknown][] = [];
  for (const [key, value] of Object.entries(settings)) {
    const pair = pairOf(group, key);
    const node = pair?.value as (Node & { flow?: boolean }) | null | undefined;
    if (!pair) fresh.push([key, value]);
    else if (!node?.range || !(isScalar(node) || node.flow) || node.anchor) return undefined;
    else edits.push({ from: node.range[0], to: node.range[1], text: flow(value) });
  }
  if (fresh.length > 0) {
    const place = group.flow ? endOfFlow(source, group) : endOfBlock(source, group);
    if (!place) return undefined;
    const added = fresh.map(([key, value]) => `${place.before}${key}: ${flow(value)}`).join('');
    edits.push({ from: place.at, to: place.at, text: added });
  }
  // From the end, so that the offsets before it stay right.
  for (const change of edits.sort((a, b) => b.from - a.from)) {
    text = text.slice(0, change.from) + change.text + text.slice(change.to);
  }
  return text;
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

function endOfFlow(source: string, map: YAMLMap): { at: number; before: string } | undefined {
  const last = (map.items.at(-1)?.value as Node | null | undefined)?.range;
  return last && map.items.length > 0 && !source.slice(last[1], map.range![1]).includes('#')
    ? { at: last[1], before: ', ' }
    : undefined;
}

/** The end of the line on which the last value ends, so that a comment behind it stays with it. */
function endOfBlock(source: string, map: YAMLMap): { at: number; before: string } | undefined {
  const first = map.items[0]?.key as Node | undefined;
  const last = endOfContent(map.items.at(-1)?.value as Node | null);
  if (!first?.range || last === undefined) return undefined;
  const column = first.range[0] - (source.lastIndexOf('\n', first.range[0] - 1) + 1);
  const lineEnd = source.indexOf('\n', last);
  return { at: lineEnd < 0 ? source.length : lineEnd, before: `\n${' '.repeat(column)}` };
}

/** Where the last scalar or flow collection inside ends; block collections themselves reach into what follows. */
function endOfContent(node: Node | null | undefined): number | undefined {
  if (!node?.range) return undefined;
  if (isScalar(node) && (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED')) return undefined;
  if (isMap(node) && !node.flow) return endOfContent(node.items.at(-1)?.value as Node | null);
  if (isSeq(node) && !node.flow) return endOfContent(node.items.at(-1) as Node | null);
  return node.range[1];
}

function spliceAdd(source: string, list: unknown, edit: PortLinkEdit & { type: 'add' }): string | undefined {
  const lines = [
    `name: ${flow(edit.name)}`,
    ...Object.entries(edit.settings).map(([key, value]) => `${key}: ${flow(value)}`),
  ];
  const block = (indent: string) =>
    lines.map((line, index) => `\n${indent}${index === 0 ? '- ' : '  '}${line}`).join('');
  if (list === undefined) {
    return `${source.trimEnd()}\nportLink:${block('  ')}\n`;
  }
  if (!isSeq(list)) return undefined;
  if (list.items.length === 0 && list.range) {
    const lineEnd = source.indexOf('\n', list.range[1]);
    const rest = lineEnd < 0 ? source.length : lineEnd;
    const line = (source.slice(0, list.range[0]) + source.slice(list.range[1], rest)).trimEnd();
    return `${line}${block('  ')}${source.slice(rest) || '\n'}`;
  }
  if (list.flow) return undefined;
  const dash = dashOf(source, list, 0);
  const last = endOfContent(list.items.at(-1) as Node);
  if (dash === undefined || last === undefined) return undefined;
  const indent = ' '.repeat(dash - (source.lastIndexOf('\n', dash - 1) + 1));
  const lineEnd = source.indexOf('\n', last);
  const at = lineEnd < 0 ? source.length : lineEnd;
  return source.slice(0, at) + block(indent) + source.slice(at);
}

function spliceRemove(source: string, list: YAMLSeq, index: number): string | undefined {
  if (list.flow) return undefined;
  const dash = dashOf(source, list, index);
  const last = endOfContent(list.items[index] as Node);
  if (dash === undefined || last === undefined) return undefined;
  const from = source.lastIndexOf('\n', dash - 1) + 1;
  const lineEnd = source.indexOf('\n', last);
  const rest = lineEnd < 0 ? '' : source.slice(lineEnd + 1);
  // An empty block list would be null.
  return source.slice(0, from) + (list.items.length > 1 ? rest : `${' '.repeat(Math.max(2, dash - from))}[]\n${rest}`);
}

/** Offset of the dash before an item of a block list, when nothing but spaces stands before it on its line. */
function dashOf(source: string, list: YAMLSeq, index: number): number | undefined {
  const item = (list.items[index] as Node).range?.[0];
  if (item === undefined) return undefined;
  const dash = source.lastIndexOf('-', item - 1);
  const lineStart = source.lastIndexOf('\n', dash - 1) + 1;
  return dash >= 0 && /^ *$/.test(source.slice(lineStart, dash)) && /^\s*$/.test(source.slice(dash + 1, item))
    ? dash
    : undefined;
}

// ------------------------------------------------------------------ printing

function print(before: Loaded, wanted: Raw, edit: PortLinkEdit, index: number): string {
  const document = before.document.clone();
  const list = document.get('portLink', true);
  if (edit.type === 'add') {
    if (isSeq(list)) list.add(document.createNode({ name: edit.name, ...edit.settings }));
    else document.set('portLink', document.createNode(wanted.portLink));
  } else if (edit.type === 'remove') {
    document.deleteIn(['portLink', index]);
  } else {
    for (const [key, value] of Object.entries(edit.settings)) {
      const group = isSeq(list) ? list.items[index] : undefined;
      if (group instanceof YAMLMap) group.set(key, document.createNode(value));
      else document.setIn(['portLink', index, key], value);
    }
  }
  return document.toString({ lineWidth: 0 });
}
