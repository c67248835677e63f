/**
 * Programs on devices: by tcx, whose links are pinned, and on kernels before 6.6 in the clsact queue, under a handle and a
 * priority that nobody else uses. Either way a program that stands there already is replaced between two packets.
 */
import {
  attachClsact,
  BpfLink,
  type BpfProgram,
  type ClsactFilter,
  detachClsact,
  SystemCallError,
  type TcDirection,
  withNetns,
} from 'linux-sockets';
import type { Pins } from './pins.ts';

/** `pl` and a priority behind what people use. */
const HANDLE = 0x706c;
const PRIORITY = 0xb0fe;

export type Way = 'tcx' | 'clsact';

export interface Attachment {
  readonly ifindex: number;
  readonly direction: TcDirection;
  readonly by: Way;
}

export class Attachments {
  readonly #pins: Pins;
  readonly #netns: string | undefined;
  readonly #attached = new Map<string, Attachment>();
  #way: Way;

  /** @param way clsact: don't try tcx */
  constructor(pins: Pins, netns: string | undefined, way: Way = 'tcx') {
    this.#pins = pins;
    this.#netns = netns;
    this.#way = way;
  }

  all(): Iterable<Attachment> {
    return this.#attached.values();
  }

  /** Somebody has taken away the pin of a link, and with it the program from the device. */
  lost(): Attachment[] {
    const pinned = new Set(this.#pins.links().map(keyOf));
    return [...this.#attached.values()].filter((one) => one.by === 'tcx' && !pinned.has(keyOf(one)));
  }

  /** @throws SystemCallError; ENODEV when the device is gone */
  attach(program: BpfProgram, ifindex: number, direction: TcDirection): void {
    const place = { ifindex, direction };
    const by = this.#update(program, place) ? 'tcx' : this.#create(program, place);
    this.#attached.set(keyOf(place), { ...place, by });
  }

  /** What is on the device no more, because the device is gone, is forgotten by this too. */
  detach(ifindex: number, direction: TcDirection): void {
    const place = { ifindex, direction };
    this.#attached.delete(keyOf(place));
    const link = this.#pins.openLink(place);
    if (link) {
      try {
        // The pin alone would go, and with it the program, unless somebody else holds the link.
        if (link.info().ifindex !== 0) link.detach();
      } finally {
        link.close();
        this.#pins.removeLink(place);
      }
    }
    if (this.#way === 'clsact') this.#inNamespace(() => detachClsact(filterAt(place)));
  }

  /** What an agent before this one has put on devices that have none of ours now. @param devices of the box */
  detachStrangers(devices: Iterable<number>): void {
    const places: Place[] = [...this.#pins.links(), ...(this.#way === 'clsact' ? bothWays(devices) : [])];
    for (const place of places) {
      if (!this.#attached.has(keyOf(place))) this.detach(place.ifindex, place.direction);
    }
  }

  /** @param devices of the box: filters in clsact queues are found nowhere else */
  detachAll(devices: Iterable<number>): void {
    const places: Place[] = [...this.#attached.values(), ...this.#pins.links()];
    if (this.#way === 'clsact') places.push(...bothWays(devices));
    for (const { ifindex, direction } of places) this.detach(ifindex, direction);
  }

  #update(program: BpfProgram, place: Place): boolean {
    const link = this.#pins.openLink(place);
    if (!link) return false;
    try {
      if (link.info().ifindex === place.ifindex) {
        link.update(program);
        return true;
      }
    } finally {
      link.close();
    }
    // An index that was another device's before.
    this.#pins.removeLink(place);
    return false;
  }

  #create(program: BpfProgram, place: Place): Way {
    return this.#inNamespace(() => {
      if (this.#way === 'tcx') {
        try {
          const link = BpfLink.attach(program, place.ifindex, place.direction);
          try {
            this.#pins.pinLink(place, link);
          } finally {
            link.close();
          }
          return 'tcx';
        } catch (error) {
          if (!(error instanceof SystemCallError) || error.code !== 'EINVAL') throw error;
          this.#way = 'clsact';
        }
      }
      attachClsact(program, filterAt(place));
      return 'clsact';
    });
  }

  #inNamespace<T>(run: () => T): T {
    return this.#netns === undefined ? run() : withNetns(this.#netns, run);
  }
}

type Place = Omit<Attachment, 'by'>;

const bothWays = (devices: Iterable<number>): Place[] =>
  [...devices].flatMap((ifindex) => [
    { ifindex, direction: 'ingress' },
    { ifindex, direction: 'egress' },
  ]);

const keyOf = ({ ifindex, direction }: Place): string => `${ifindex} ${direction}`;

const filterAt = ({ ifindex, direction }: Place): ClsactFilter => ({
  ifindex,
  direction,
  handle: HANDLE,
  priority: PRIORITY,
});
