/** Linux: IFNAMSIZ is 16 with the terminating zero; no slash, no white space, no colon (dev_valid_name). */
const INTERFACE_NAME = /^[^\s/:[\],]{1,15}$/;
const BRACKET = /\[([^[\]]*)\]/;
const MOST = 4096;

export interface PortListFault {
  readonly message: string;
  readonly remedy: string;
}

/**
 * Expands one item of a port list: a name, or a name with numbers in brackets (`swp[1-48]`, `Ethernet[0,4,8]`,
 * `swp[1-4]s[0-3]`). A leading zero keeps the width (`p[01-10]`).
 */
export function expandPorts(item: string): readonly string[] | PortListFault {
  const names: string[] = [];
  const pending = [item];
  while (pending.length > 0) {
    const text = pending.shift()!;
    const bracket = BRACKET.exec(text);
    if (!bracket) {
      if (!INTERFACE_NAME.test(text) || text === '.' || text === '..') return badName(text, item);
      names.push(text);
      continue;
    }
    const numbers = expandNumbers(bracket[1]!);
    if (!numbers || names.length + pending.length + numbers.length > MOST) {
      return {
        message: `'${item}' has a bad range`,
        remedy: `Write numbers and rising ranges with commas, such as swp[1-48] or Ethernet[0,4,8]; at most ${MOST} ports.`,
      };
    }
    const before = text.slice(0, bracket.index);
    const after = text.slice(bracket.index + bracket[0].length);
    pending.push(...numbers.map((number) => before + number + after));
  }
  return names;
}

function badName(name: string, item: string): PortListFault {
  return {
    message: name === item ? `'${item}' can't be the name of an interface` : `'${item}' gives the bad name '${name}'`,
    remedy: 'Write 1 to 15 characters without spaces, slashes or colons, as `ip link` shows them.',
  };
}

function expandNumbers(text: string): string[] | undefined {
  const numbers: string[] = [];
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,6})(?:-(\d{1,6}))?\s*$/.exec(part);
    if (!match) return undefined;
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (last < first || last - first >= MOST) return undefined;
    const width = match[1]!.startsWith('0') ? match[1]!.length : 0;
    for (let number = first; number <= last; number++) numbers.push(String(number).padStart(width, '0'));
  }
  return numbers;
}

/** The names of a list that was checked before, in order. */
export function portsOf(list: string | readonly string[]): readonly string[] {
  const names: string[] = [];
  for (const item of typeof list === 'string' ? [list] : list) {
    const expanded = expandPorts(item);
    if ('message' in expanded) throw new TypeError(`an unchecked port list: ${expanded.message}`);
    names.push(...expanded);
  }
  return names;
}

/** Each port with the index of its item in the list (undefined when the list is a single text). */
export function portsWithIndex(
  list: string | readonly string[],
): readonly { readonly port: string; readonly index: number | undefined }[] {
  if (typeof list === 'string') return portsOf(list).map((port) => ({ port, index: undefined }));
  return list.flatMap((item, index) => portsOf(item).map((port) => ({ port, index })));
}
