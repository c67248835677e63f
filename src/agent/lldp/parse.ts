import { heardText, type PortNeighbour } from '../../model/ports.ts';

/** By the name of the port. */
export type NeighbourTable = ReadonlyMap<string, readonly PortNeighbour[]>;

/** More on one cable than anybody can read; a hub may have them. */
const PER_PORT = 4;
const PORTS = 4_096;

/**
 * What `lldpcli -f json0 show neighbors` prints: every element a list, whether there is one or many, and an empty object
 * where there is nothing. Undefined when it is something else; a neighbour that is not as it should be is left out.
 */
export function parseNeighbours(text: string): NeighbourTable | undefined {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    return undefined;
  }
  const answer = field(root, 'lldp');
  if (!Array.isArray(answer)) return undefined;
  const table = new Map<string, PortNeighbour[]>();
  for (const entry of list(answer[0], 'interface')) {
    const port = field(entry, 'name');
    const neighbour = neighbourOf(entry);
    if (typeof port !== 'string' || !neighbour || (!table.has(port) && table.size >= PORTS)) continue;
    const neighbours = table.get(port) ?? [];
    if (neighbours.length < PER_PORT) table.set(port, [...neighbours, neighbour]);
  }
  return table;
}

function neighbourOf(entry: unknown): PortNeighbour | undefined {
  const [chassis] = list(entry, 'chassis');
  const [port] = list(entry, 'port');
  const portId = textOf(port, 'id');
  const chassisId = textOf(chassis, 'id');
  // IEEE 802.1AB: chassis and port id are mandatory, the system's name is not.
  const systemName = textOf(chassis, 'name') ?? chassisId;
  if (portId === undefined || systemName === undefined) return undefined;
  const portDescription = textOf(port, 'descr');
  return {
    systemName,
    portId,
    ...(portDescription === undefined ? {} : { portDescription }),
    ...(chassisId === undefined ? {} : { chassisId }),
  };
}

function field(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>)[key] : undefined;
}

function list(value: unknown, key: string): unknown[] {
  const found = field(value, key);
  return Array.isArray(found) ? found : [];
}

function textOf(value: unknown, key: string): string | undefined {
  const text = field(list(value, key)[0], 'value');
  return typeof text === 'string' && text !== '' ? heardText(text) : undefined;
}

/**
 * Cuts a stream into the JSON objects that follow one another in it, by counting braces outside of texts. `push` gives
 * the complete ones; more than `limit` characters without an end are a mistake and thrown away ('overflow').
 */
export class ObjectSplitter {
  readonly #limit: number;
  #held = '';
  #scanned = 0;
  #depth = 0;
  #inText = false;
  #escaped = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: string): string[] | 'overflow' {
    this.#held += chunk;
    const objects: string[] = [];
    let start = 0;
    for (let at = this.#scanned; at < this.#held.length; at++) {
      const character = this.#held[at]!;
      if (this.#inText) this.#readText(character);
      else if (character === '"') this.#inText = this.#depth > 0;
      else if (character === '{' && this.#depth++ === 0) start = at;
      else if (character === '}' && this.#depth > 0 && --this.#depth === 0) {
        objects.push(this.#held.slice(start, at + 1));
        start = at + 1;
      }
    }
    // Nothing between objects is kept.
    this.#held = this.#depth === 0 ? '' : this.#held.slice(start);
    this.#scanned = this.#held.length;
    return this.#held.length > this.#limit ? 'overflow' : objects;
  }

  #readText(character: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (character === '\\') this.#escaped = true;
    else if (character === '"') this.#inText = false;
  }
}
