import { isDeepStrictEqual } from 'node:util';
import {
  type Document,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  stringify,
  YAMLMap,
  type YAMLSeq,
} from 'yaml';

/**
 * An edit of the operator's file as text: what isn't changed stays byte for byte, comments and alignment included. So a
 * change is spliced into the text where the parser says the old value stands. The result is parsed again and must say
 * exactly what was asked; where a splice can't be right (anchors, block lists with comments inside) the YAML document is
 * edited as a tree and printed anew, which keeps the comments but may move white space.
 */

export type Raw = Record<string, unknown>;

/** Of a list of groups of keys, `section` being the keys that lead to it; or of the keys of one such group itself. */
export type FileEdit =
  | { readonly type: 'add'; readonly section: Section; readonly item: Raw }
  | { readonly type: 'set'; readonly section: Section; readonly index: number; readonly settings: Raw }
  | { readonly type: 'remove'; readonly section: Section; readonly index: number }
  | { readonly type: 'keys'; readonly section: Section; readonly settings: Raw };

export type Section = readonly [string, ...string[]];

interface Source {
  readonly text: string;
  readonly document: Document;
}

/** The text afterwards. */
export function editText(before: Source, edit: FileEdit): string {
  const wanted = structuredClone(before.document.toJS() ?? {}) as Raw;
  const [last, holder] = holderOf(wanted, edit.section);
  holder[last] = edited(holder[last], edit);
  return splice(before, edit, wanted) ?? print(before, edit, holder[last]);
}

/** What stands at a section of a file's plain values; a list. */
export function rawList(raw: unknown, section: Section): Raw[] {
  let value = raw;
  for (const key of section) value = (value as Raw | null | undefined)?.[key];
  return Array.isArray(value) ? (value as Raw[]) : [];
}

function holderOf(wanted: Raw, section: Section): [string, Raw] {
  let holder = wanted;
  for (const key of section.slice(0, -1)) {
    holder[key] ??= {};
    holder = holder[key] as Raw;
  }
  return [section.at(-1)!, holder];
}

function edited(was: unknown, edit: FileEdit): unknown {
  if (edit.type === 'keys') return { ...(was as Raw | undefined), ...edit.settings };
  const list = (was ?? []) as Raw[];
  if (edit.type === 'add') return [...list, edit.item];
  if (edit.type === 'remove') return list.filter((_, at) => at !== edit.index);
  return list.map((item, at) => (at === edit.index ? { ...item, ...edit.settings } : item));
}

// ------------------------------------------------------------------ splicing

function splice({ text: source, document }: Source, edit: FileEdit, wanted: Raw): string | undefined {
  const node = document.getIn(edit.section, true);
  const text = spliced(source, node, edit);
  if (text === undefined) return undefined;
  const result = parseDocument(text, { logLevel: 'silent' });
  return result.errors.length === 0 && isDeepStrictEqual(result.toJS(), wanted) ? text : undefined;
}

function spliced(source: string, node: unknown, edit: FileEdit): string | undefined {
  switch (edit.type) {
    case 'add':
      return spliceAdd(source, node, edit.section, edit.item);
    case 'keys':
      return node === undefined
        ? appended(source, edit.section, edit.settings)
        : spliceSet(source, node, edit.settings);
    case 'remove':
      return isSeq(node) ? spliceRemove(source, node, edit.index) : undefined;
    default:
      return isSeq(node) ? spliceSet(source, node.items[edit.index], edit.settings) : undefined;
  }
}

function appended(source: string, section: Section, settings: Raw): string | undefined {
  if (section.length > 1) return undefined;
  const lines = Object.entries(settings).map(([key, value]) => `\n  ${key}: ${flow(value)}`);
  return `${source.trimEnd()}\n${section[0]}:${lines.join('')}\n`;
}

const flow = (value: unknown): string =>
  stringify(value, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 }).trimEnd();

/** The value stands on one line in the file and ends where the next thing begins. */
function spliceSet(source: string, group: unknown, settings: Raw): string | undefined {
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

function spliceAdd(source: string, list: unknown, section: Section, item: Raw): string | undefined {
  const lines = Object.entries(item).map(([key, value]) => `${key}: ${flow(value)}`);
  const block = (indent: string) =>
    lines.map((line, index) => `\n${indent}${index === 0 ? '- ' : '  '}${line}`).join('');
  if (list === undefined) {
    return section.length === 1 ? `${source.trimEnd()}\n${section[0]}:${block('  ')}\n` : undefined;
  }
  if (!isSeq(list)) return undefined;
  if (list.items.length === 0 && list.range) {
    const indent = '  '.repeat(section.length);
    const lineEnd = source.indexOf('\n', list.range[1]);
    const rest = lineEnd < 0 ? source.length : lineEnd;
    const line = (source.slice(0, list.range[0]) + source.slice(list.range[1], rest)).trimEnd();
    return `${line}${block(indent)}${source.slice(rest) || '\n'}`;
  }
  if (list.flow) {
    const end = (list.items.at(-1) as Node).range?.[1];
    return end === undefined ? undefined : `${source.slice(0, end)}, ${flow(item)}${source.slice(end)}`;
  }
  const dash = dashOf(source, list, 0);
  const last = endOfContent(list.items.at(-1) as Node);
  if (dash === undefined || last === undefined) return undefined;
  const indent = ' '.repeat(dash - (source.lastIndexOf('\n', dash - 1) + 1));
  const lineEnd = source.indexOf('\n', last);
  const at = lineEnd < 0 ? source.length : lineEnd;
  return source.slice(0, at) + block(indent) + source.slice(at);
}

function spliceRemove(source: string, list: YAMLSeq, index: number): string | undefined {
  if (list.flow) return cutFromFlow(source, list, index);
  const dash = dashOf(source, list, index);
  const last = endOfContent(list.items[index] as Node);
  if (dash === undefined || last === undefined) return undefined;
  const from = source.lastIndexOf('\n', dash - 1) + 1;
  const lineEnd = source.indexOf('\n', last);
  const rest = lineEnd < 0 ? '' : source.slice(lineEnd + 1);
  // An empty block list would be null.
  return source.slice(0, from) + (list.items.length > 1 ? rest : `${' '.repeat(Math.max(2, dash - from))}[]\n${rest}`);
}

/** With the comma that parts it from its neighbour. */
function cutFromFlow(source: string, list: YAMLSeq, index: number): string | undefined {
  const ranges = list.items.map((item) => (item as Node).range);
  const own = ranges[index];
  const next = ranges[index + 1];
  const previous = ranges[index - 1];
  if (!own) return undefined;
  if (next) return source.slice(0, own[0]) + source.slice(next[0]);
  return source.slice(0, previous ? previous[1] : own[0]) + source.slice(own[1]);
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

function print({ document: before }: Source, edit: FileEdit, wanted: unknown): string {
  const document = before.clone();
  const node = document.getIn(edit.section, true);
  if (!isCollection(node)) document.setIn(edit.section, document.createNode(wanted));
  else if (edit.type === 'add') document.addIn(edit.section, document.createNode(edit.item));
  else if (edit.type === 'remove') document.deleteIn([...edit.section, edit.index]);
  else {
    const group = edit.type === 'keys' ? node : isSeq(node) ? node.items[edit.index] : undefined;
    for (const [key, value] of Object.entries(edit.settings)) {
      if (group instanceof YAMLMap) group.set(key, document.createNode(value));
      else document.setIn([...edit.section, ...(edit.type === 'set' ? [edit.index] : []), key], value);
    }
  }
  return document.toString({ lineWidth: 0 });
}
