/*
 * All states of a small model of two ends that follow the machine's table: versions 1 and 2 and none, rotated at any time; data and
 * dedicated packets that arrive at once, are lost, or are kept by the network and delivered later, as often as it likes, past
 * whatever was sent after them. `kept` says how many packets the network keeps at a time.
 *
 * From every state in which both hold the same version, with nothing lost any more, both ends must become `valid` in a few rounds,
 * whichever way data flows; and in `strict` no packet is ever plain.
 *
 * `node --conditions=source test/vswitch/encryption/enumeration.ts --kept 2`
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { STATES, TABLE, type TableEvent } from '../../../src/vswitch-bridge/encryption/machine/table.ts';

const VALID = 0;
const NOTIFY = 1;
const INVALID = 2;
const UNHEARD = 3;

type Policy = 'available' | 'strict';

/** `said`: the newest version in the peer's last dedicated packet. `open`: something is to be acknowledged. */
interface End {
  state: number;
  own: number;
  said: number;
  open: boolean;
}

type Item =
  | { readonly kind: 'encrypted'; readonly version: number }
  | { readonly kind: 'plain'; readonly version: number; readonly off: boolean }
  | {
      readonly kind: 'control';
      readonly version: number;
      readonly state: number;
      readonly ack: boolean;
      readonly reply: boolean;
      /** Something newer has been said since: it acknowledges nothing, nor does an answer to it. */
      readonly old: boolean;
    };

/** Every packet there is, by number; 0: none. */
const ITEMS: readonly (Item | undefined)[] = [
  undefined,
  ...[1, 2].map((version) => ({ kind: 'encrypted', version }) as const),
  ...[0, 1, 2].flatMap((version) => [false, true].map((off) => ({ kind: 'plain', version, off }) as const)),
  ...[0, 1, 2].flatMap((version) =>
    [VALID, NOTIFY, INVALID].flatMap((state) =>
      [false, true].flatMap((ack) =>
        [false, true].map((old) => ({ kind: 'control', version, state, ack, reply: !ack, old }) as const),
      ),
    ),
  ),
];
const numbers = new Map(ITEMS.map((item, index) => [JSON.stringify(item), index]));
const numberOf = (item: Item): number => numbers.get(JSON.stringify(item))!;
/** The same dedicated packet once something newer was said, by its receiver or by its sender. */
const UNACKING = ITEMS.map((item, index) =>
  item?.kind === 'control' && item.ack ? numberOf({ ...item, old: true }) : index,
);
const OUTDATED = ITEMS.map((item, index) =>
  item?.kind === 'control' && item.reply ? numberOf({ ...item, old: true }) : index,
);

const ENDS = 3 * 3 * 4 * 2;
const SLOT = ITEMS.length * 2;

class Model {
  readonly ends: [End, End] = [
    { state: VALID, own: 0, said: UNHEARD, open: false },
    { state: VALID, own: 0, said: UNHEARD, open: false },
  ];
  /** Kept by the network, the oldest first: number × 2 + direction (0: from the first end); 0 behind the last. */
  readonly kept: number[];
  readonly policy: Policy;

  constructor(policy: Policy, kept: number) {
    this.policy = policy;
    this.kept = new Array<number>(kept).fill(0);
  }

  encode(): number {
    let code = 0;
    for (const { state, own, said, open } of this.ends)
      code = code * ENDS + ((state * 3 + own) * 4 + said) * 2 + (open ? 1 : 0);
    for (const slot of this.kept) code = code * SLOT + slot;
    return code;
  }

  decode(code: number): this {
    let rest = code;
    for (let index = this.kept.length - 1; index >= 0; index--) {
      this.kept[index] = rest % SLOT;
      rest = Math.floor(rest / SLOT);
    }
    for (const index of [1, 0]) {
      const end = this.ends[index]!;
      let bits = rest % ENDS;
      rest = Math.floor(rest / ENDS);
      end.open = (bits & 1) === 1;
      bits >>= 1;
      end.said = bits & 3;
      bits >>= 2;
      end.own = bits % 3;
      end.state = (bits - end.own) / 3;
    }
    return this;
  }

  take(index: number): void {
    this.kept.splice(index, 1);
    this.kept.push(0);
  }

  /** A newer counter has been heard: older dedicated packets of this end will be refused. */
  forgetControls(who: number, before: number): void {
    for (let index = before - 1; index >= 0; index--) {
      const slot = this.kept[index]!;
      if (slot !== 0 && slot % 2 === who && ITEMS[slot >> 1]?.kind === 'control') this.take(index);
    }
  }

  rotate(who: number, own: number): void {
    const end = this.ends[who]!;
    if (own === end.own) return;
    end.own = own;
    this.#step(who, own === 0 ? 'keys-gone' : 'own-key');
  }

  /** What data becomes; undefined: it is held. */
  data(who: number): Item | undefined {
    const { state, own, said } = this.ends[who]!;
    if (state === VALID) return own === 0 ? undefined : { kind: 'encrypted', version: own };
    const confirmed = own === 0 || (said !== UNHEARD && said !== own);
    if (this.policy === 'strict' || !confirmed) return undefined;
    return { kind: 'plain', version: own, off: state === NOTIFY };
  }

  control(who: number, ack = false, old = false): Item {
    const { state, own } = this.ends[who]!;
    return { kind: 'control', version: own, state, ack, reply: !ack, old };
  }

  /** The answer, if one is asked for. */
  deliver(to: number, item: Item): Item | undefined {
    const end = this.ends[to]!;
    if (item.kind === 'encrypted') {
      const equal = item.version === end.own;
      if (equal) end.said = end.own;
      this.#step(to, equal ? 'encrypted-equal' : 'encrypted-differs');
      return undefined;
    }
    const equal = item.version !== 0 && item.version === end.own;
    if (item.kind === 'plain') {
      const believed = end.said !== end.own && end.said === item.version;
      if (!equal && end.state === VALID && !believed) this.#step(to, 'doubt');
      else if (equal) this.#step(to, item.off ? 'off-equal' : 'plain-equal');
      else this.#step(to, item.off ? 'off-differs' : 'plain-differs');
      return undefined;
    }
    if (item.ack && !item.old) end.open = false;
    end.said = item.version;
    const off = item.state === NOTIFY;
    if (equal) this.#step(to, off ? 'off-equal' : 'said-equal');
    else if (off) this.#step(to, 'off-differs');
    else this.#step(to, item.state === INVALID ? 'plain-differs' : 'said-differs');
    return item.reply ? this.control(to, true, item.old) : undefined;
  }

  #step(who: number, event: TableEvent): void {
    const end = this.ends[who]!;
    const row = TABLE[STATES[end.state]!][event];
    end.state = STATES.indexOf(row.to);
    if (row.actions.length === 0) return;
    end.open = true;
    for (const [index, slot] of this.kept.entries()) {
      const changed = slot % 2 === who ? OUTDATED : UNACKING;
      this.kept[index] = changed[slot >> 1]! * 2 + (slot % 2);
    }
  }

  get agreed(): boolean {
    return this.ends[0].state === VALID && this.ends[1].state === VALID;
  }
}

export interface Enumeration {
  readonly states: number;
  readonly checked: number;
  /** Most rounds until both were valid. */
  readonly rounds: number;
}

/** @throws Error with the state from which the ends do not come together, or in which `strict` sends plain text */
export function enumerate(policy: Policy, kept: number): Enumeration {
  const model = new Model(policy, kept);
  const first = model.encode();
  const seen = new Set<number>([first]);
  const stack = [first];
  let checked = 0;
  let rounds = 0;
  const found = (code: number) => {
    if (seen.has(code)) return;
    seen.add(code);
    stack.push(code);
  };
  for (let code = stack.pop(); code !== undefined; code = stack.pop()) {
    expand(model, code, found);
    model.decode(code);
    if (model.ends[0].own === 0 || model.ends[0].own !== model.ends[1].own) continue;
    checked++;
    for (const flows of [[0], [1], [0, 1]]) rounds = Math.max(rounds, settle(model, code, flows));
  }
  return { states: seen.size, checked, rounds };
}

function expand(model: Model, code: number, found: (code: number) => void): void {
  for (const who of [0, 1]) {
    for (const own of [0, 1, 2]) {
      model.decode(code).rotate(who, own);
      found(model.encode());
    }
    model.decode(code);
    const data = model.data(who);
    if (data?.kind === 'plain' && model.policy === 'strict') throw new Error('plain text in strict');
    if (data) send(model, code, who, data, found);
    // Dedicated packets are repeated only while they are open.
    model.decode(code);
    if (model.ends[who]!.open) send(model, code, who, model.control(who), found);
  }
  for (let index = 0; index < model.kept.length; index++) {
    const slot = model.decode(code).kept[index]!;
    const item = ITEMS[slot >> 1];
    if (!item) break;
    const to = 1 - (slot % 2);
    model.take(index);
    found(model.encode());
    if (item.kind === 'control') model.forgetControls(1 - to, index);
    arrive(model, to, item, found);
    // A packet that arrives twice; of dedicated ones the second is known by its counter, of encrypted ones by the window.
    if (item.kind !== 'plain') continue;
    model.decode(code);
    arrive(model, to, item, found);
  }
}

/** It arrives at once, or the network keeps it. That it is lost changes nothing. */
function send(model: Model, code: number, who: number, item: Item, found: (code: number) => void): void {
  model.decode(code);
  const free = model.kept.indexOf(0);
  if (free >= 0) {
    model.kept[free] = numberOf(item) * 2 + who;
    found(model.encode());
  }
  model.decode(code);
  if (item.kind === 'control') model.forgetControls(who, model.kept.length);
  arrive(model, 1 - who, item, found);
}

/** With every fate of the answer. */
function arrive(model: Model, to: number, item: Item, found: (code: number) => void): void {
  const answer = model.deliver(to, item);
  const code = model.encode();
  found(code);
  if (!answer) return;
  const free = model.kept.indexOf(0);
  if (free >= 0) {
    model.kept[free] = numberOf(answer) * 2 + to;
    found(model.encode());
  }
  model.decode(code);
  model.forgetControls(to, model.kept.length);
  model.deliver(1 - to, answer);
  found(model.encode());
}

const MOST_ROUNDS = 6;

/** Nothing is lost any more: rounds until both are valid and stay so. */
function settle(model: Model, code: number, flows: readonly number[]): number {
  model.decode(code);
  for (let slot = model.kept[0]!; slot !== 0; slot = model.kept[0]!) {
    model.take(0);
    model.deliver(1 - (slot % 2), ITEMS[slot >> 1]!);
  }
  for (let round = 0; round <= MOST_ROUNDS; round++) {
    if (model.agreed && !model.ends[0].open && !model.ends[1].open) return round;
    for (const who of [0, 1]) {
      if (!model.ends[who]!.open) continue;
      const answer = model.deliver(1 - who, model.control(who));
      if (answer) model.deliver(who, answer);
    }
    for (const who of flows) {
      const data = model.data(who);
      if (data) model.deliver(1 - who, data);
    }
  }
  const [a, b] = model.decode(code).ends;
  throw new Error(
    `${JSON.stringify({ policy: model.policy, a, b, kept: model.kept.map((slot) => ITEMS[slot >> 1]), flows })}`,
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values } = parseArgs({ options: { kept: { type: 'string' } } });
  for (const policy of ['available', 'strict'] as const) {
    console.log(policy, JSON.stringify(enumerate(policy, Number(values.kept ?? 1))));
  }
}
