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
import { type Loaded, parseConfig, type Refused } from './load.ts';
import { locate, type Problem } from './problem.ts';
import type { GroupSettings } from './schema.ts';
import { editText, type FileEdit, type Raw, rawList } from './splice.ts';

/** Changes of port-link groups, written back into the operator's file (`splice.ts`), which is checked as a whole first. */

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
  const groups = rawList(before.document.toJS(), SECTION);
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
  const text = editText(before, fileEdit(edit, index));
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
    // Mode before owner: whose file it is then, he alone may set its mode, and root only with CAP_FOWNER.
    fchmodSync(fd, status.mode & 0o777);
    if (status.uid !== process.getuid?.() || status.gid !== process.getgid?.()) fchownSync(fd, status.uid, status.gid);
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

const SECTION = ['portLink'] as const;

function fileEdit(edit: PortLinkEdit, index: number): FileEdit {
  const section = SECTION;
  if (edit.type === 'add') return { type: 'add', section, item: { name: edit.name, ...edit.settings } };
  if (edit.type === 'remove') return { type: 'remove', section, index };
  return { type: 'set', section, index, settings: { ...edit.settings } };
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
