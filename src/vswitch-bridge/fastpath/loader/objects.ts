/**
 * The compiled programs, and the maps that they share: each map is made by the first object that has it, or taken from its
 * pin, and handed to the others.
 */
import { fileURLToPath } from 'node:url';
import { type BpfMap, type BpfMapShape, BpfObject, type BpfProgram } from 'linux-sockets';
import { PROGRAMS, type ProgramName } from '../maps/layout.ts';
import { MAP_NAMES, type MapName, type Tables } from '../maps/tables.ts';

/** Objects are built into dist/, where the compiled code has them beside it; sources look there too. */
const FOLDER = import.meta.url.endsWith('.ts') ? '../../../../dist/src/vswitch-bridge/fastpath/bpf/' : '../bpf/';

export const objectPath = (name: string): string => fileURLToPath(new URL(`${FOLDER}${name}.o`, import.meta.url));

export type Sizes = Partial<Record<MapName, number>>;

export interface Loaded {
  readonly tables: Tables;
  readonly program: (name: ProgramName) => BpfProgram;
  close(): void;
}

/**
 * @param existing maps that are used in place of new ones; they stay their owner's
 * @throws BpfError with what the verifier said
 */
export function loadPrograms(existing: Partial<Tables>, sizes: Sizes): Loaded {
  const objects: BpfObject[] = [];
  const programs = new Map<string, BpfObject>();
  const maps: Partial<Record<MapName, BpfMap>> = { ...existing };
  const close = () => {
    for (const object of objects.splice(0)) object.close();
  };
  try {
    for (const name of PROGRAMS) {
      const object = open(name, maps, sizes);
      objects.push(object);
      object.load();
      for (const map of MAP_NAMES) {
        if (!maps[map] && object.shapes().some((shape) => shape.name === map)) maps[map] = object.map(map);
      }
      programs.set(name, object);
    }
  } catch (error) {
    close();
    throw error;
  }
  for (const map of MAP_NAMES) {
    if (maps[map]) continue;
    close();
    throw new RangeError(`no program has the map ${map}`);
  }
  return { tables: maps as Tables, close, program: (name) => programs.get(name)!.program(name) };
}

/** The maps as the compiled programs have them, by name. */
export function mapShapes(): ReadonlyMap<string, BpfMapShape> {
  const shapes = PROGRAMS.flatMap((name) => inspect(objectPath(name)).shapes);
  return new Map(shapes.map((shape) => [shape.name, shape]));
}

function open(name: ProgramName, maps: Partial<Tables>, sizes: Sizes): BpfObject {
  const path = objectPath(name);
  const { shapes } = inspect(path);
  const has = (map: string) => shapes.some((shape) => shape.name === map);
  const reuse = Object.fromEntries(Object.entries(maps).filter(([map]) => has(map)));
  const maxEntries = Object.fromEntries(Object.entries(sizes).filter(([map]) => has(map) && !(map in reuse)));
  return BpfObject.open(path, { name, reuse, maxEntries });
}

function inspect(path: string) {
  const object = BpfObject.open(path);
  try {
    return { shapes: object.shapes() };
  } finally {
    object.close();
  }
}
