import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair } from 'yaml';

export type Path = readonly (string | number)[];

/** Something wrong at a path of the settings, before it has a place in the file. */
export interface Finding {
  readonly path: Path;
  /** Continues `PATH: `. Without full stop. */
  readonly message: string;
  readonly remedy: string;
  /** Point at the key and not at its value. */
  readonly atKey?: boolean;
}

/** Something wrong at a place in a file. */
export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** `portLink[0].uplinks[1]`, empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly remedy: string;
}

export const formatPath = (path: Path): string =>
  path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text ? `${text}.${part}` : part),
    '',
  );

/** `FILE:LINE:COL: path: what is wrong. Remedy.` */
export function formatProblem(problem: Problem): string {
  const { file, line, column, path, message, remedy } = problem;
  return `${file}:${line}:${column}: ${path ? `${path}: ` : ''}${message}. ${remedy}`;
}

/** Gives a finding its place: the value, or else the nearest thing around it that is in the file. */
export function locate(finding: Finding, file: string, document: Document, lines: LineCounter): Problem {
  const offset = offsetOf(finding, document);
  const place = lines.linePos(offset);
  return {
    file,
    line: Math.max(1, place.line),
    column: Math.max(1, place.col),
    path: formatPath(finding.path),
    message: finding.message,
    remedy: finding.remedy,
  };
}

function offsetOf(finding: Finding, document: Document): number {
  let node = document.contents as Node | null;
  let key: Node | undefined;
  let offset = start(node) ?? 0;
  for (const [depth, part] of finding.path.entries()) {
    if (node && isAlias(node)) node = node.resolve(document) ?? null;
    const next = child(node, part);
    if (!next) return offset;
    key = next.key;
    node = next.value;
    const last = depth === finding.path.length - 1;
    // A missing key points at the key of what it is missing from; a list item or a value at itself.
    offset = (last && !finding.atKey ? (start(node) ?? start(key)) : (start(key) ?? start(node))) ?? offset;
  }
  return offset;
}

function child(node: Node | null, part: string | number): { key?: Node; value: Node | null } | undefined {
  if (isMap(node)) {
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part)) as
      | Pair<Node, Node | null>
      | undefined;
    return pair && { key: pair.key, value: pair.value };
  }
  if (isSeq(node) && typeof part === 'number' && part < node.items.length) {
    return { value: node.items[part] as Node };
  }
  return undefined;
}

/** undefined for a value that isn't written at all (`key:` alone). */
const start = (node: Node | null | undefined): number | undefined =>
  node?.range && node.range[0] < node.range[1] ? node.range[0] : undefined;
