/**
 * The one table of the host role: networks, instances, remotes, policy, services, sources of SNAT. The slow path, the fast
 * path, the tunnel neighbours and the encryption follow it; none of them decides what is in the overlay.
 *
 * A change is a list of edits that takes effect as a whole or not at all, checked by the same register as the
 * configuration. It answers with what changed, in an order in which it can be carried out, and with the state after it.
 * Such a state is never changed again: who holds one may go on reading it while the table moves on.
 *
 * Pure: no clock, no kernel.
 */
import { isDeepStrictEqual } from 'node:util';
import type {
  OverlayChange,
  OverlayInstance,
  OverlayNetwork,
  OverlayPolicy,
  OverlayRemote,
  OverlayService,
  OverlaySnat,
  OverlayState,
  OverlayUnderlay,
} from '../../model/overlay.ts';
import {
  OVERLAY_KINDS,
  type OverlayFault,
  type OverlayItems,
  type OverlayKind,
  overlayKey,
} from '../../model/overlay-items.ts';
import { OverlayRegister } from '../../model/overlay-register.ts';

export type OverlayEdit =
  | {
      readonly [K in OverlayKind]: { readonly op: 'add'; readonly kind: K; readonly item: OverlayItems[K] };
    }[OverlayKind]
  /** Takes the place of what has the same key, or is added. */
  | {
      readonly [K in OverlayKind]: { readonly op: 'set'; readonly kind: K; readonly item: OverlayItems[K] };
    }[OverlayKind]
  | { readonly op: 'remove'; readonly kind: OverlayKind; readonly key: string }
  | {
      readonly op: 'policy';
      readonly default?: OverlayPolicy['default'];
      readonly initiate?: OverlayPolicy['initiate'];
    };

export type Edited =
  | { readonly ok: true; readonly changes: readonly OverlayChange[]; readonly state: OverlayState }
  /** Nothing was changed; `index` is the edit that did not fit. */
  | { readonly ok: false; readonly index: number; readonly faults: readonly OverlayFault[] };

/** What the configuration says; a checked one. */
export interface OverlayContent {
  readonly networks: readonly OverlayNetwork[];
  readonly instances: readonly OverlayInstance[];
  readonly remotes: readonly OverlayRemote[];
  readonly policy: OverlayPolicy;
  readonly services: readonly OverlayService[];
  readonly snat: readonly OverlaySnat[];
}

export interface Replaced {
  readonly changes: readonly OverlayChange[];
  readonly state: OverlayState;
  /** What came from the CNI plugin or the kernel and has no place any more. */
  readonly dropped: readonly {
    readonly item: OverlayNetwork | OverlayInstance | OverlayRemote;
    readonly faults: readonly OverlayFault[];
  }[];
}

class Rehearsed extends Error {}

type PolicyHead = Pick<OverlayPolicy, 'default' | 'initiate'>;

export class OverlayTable {
  readonly #underlay: OverlayUnderlay;
  #register: OverlayRegister;
  #head: PolicyHead = { default: 'allow', initiate: 'both' };
  #state: OverlayState | undefined;

  constructor(underlay: OverlayUnderlay) {
    this.#underlay = underlay;
    this.#register = new OverlayRegister(underlay);
  }

  get state(): OverlayState {
    this.#state ??= this.#snapshot();
    return this.#state;
  }

  get underlay(): OverlayUnderlay {
    return this.#underlay;
  }

  /** As `edit`, and nothing is changed. */
  rehearse(edits: readonly OverlayEdit[]): Edited {
    let edited: Edited | undefined;
    try {
      return this.edit(edits, (done) => {
        edited = done;
        throw new Rehearsed();
      });
    } catch (error) {
      if (!(error instanceof Rehearsed) || !edited) throw error;
      return edited;
    }
  }

  /** @param commit the last word: when it throws, nothing was changed, and the error goes on to the caller */
  edit(edits: readonly OverlayEdit[], commit?: (edited: Edited & { readonly ok: true }) => void): Edited {
    const undo: (() => void)[] = [];
    const before = new Before(this.#register, this.#head);
    const rules = [...this.#register.items.rule.keys()];
    for (const [index, edit] of edits.entries()) {
      const faults = this.#apply(edit, undo, before);
      if (faults.length === 0) continue;
      this.#undo(undo, rules);
      return { ok: false, index, faults };
    }
    // A rule that was set stands where it stood: among equals the order decides.
    if (before.touched('rule')) this.#register.arrange('rule', rules);
    const was = this.#state;
    const edited = { ok: true, ...this.#changed(before) } as const;
    try {
      commit?.(edited);
    } catch (error) {
      this.#undo(undo, rules);
      this.#state = was;
      throw error;
    }
    return edited;
  }

  #undo(steps: readonly (() => void)[], rules: readonly string[]): void {
    for (const step of steps.toReversed()) step();
    this.#register.arrange('rule', rules);
  }

  /** Takes the configuration over; what came from the CNI plugin or the kernel stays if it fits. */
  replace(content: OverlayContent): Replaced {
    const register = new OverlayRegister(this.#underlay);
    const fill = <K extends OverlayKind>(kind: K, items: readonly OverlayItems[K][]): void => {
      for (const item of items) register.put(kind, item);
    };
    fill('network', content.networks);
    fill('instance', content.instances);
    fill('remote', content.remotes);
    fill('service', content.services);
    fill('rule', content.policy.rules);
    fill('snat', content.snat);
    const dropped: { item: OverlayNetwork | OverlayInstance | OverlayRemote; faults: readonly OverlayFault[] }[] = [];
    for (const kind of ['network', 'instance', 'remote'] as const) {
      for (const item of this.#register.items[kind].values()) {
        if (item.origin !== 'cni' && item.origin !== 'kernel') continue;
        if (register.items[kind].has(overlayKey(kind, item))) continue;
        const faults = register.check(kind, item as never);
        if (faults.length === 0) register.put(kind, item as never);
        else dropped.push({ item, faults });
      }
    }
    const before = new Before(this.#register, this.#head);
    for (const kind of OVERLAY_KINDS) {
      for (const key of this.#register.items[kind].keys()) before.remember(kind, key);
      for (const key of register.items[kind].keys()) before.remember(kind, key);
    }
    this.#register = register;
    this.#head = { default: content.policy.default, initiate: content.policy.initiate };
    this.#state = undefined;
    return { ...this.#changed(before), dropped };
  }

  #apply(edit: OverlayEdit, undo: (() => void)[], before: Before): readonly OverlayFault[] {
    const register = this.#register;
    if (edit.op === 'policy') {
      const head = this.#head;
      this.#head = { default: edit.default ?? head.default, initiate: edit.initiate ?? head.initiate };
      undo.push(() => {
        this.#head = head;
      });
      return [];
    }
    const { kind } = edit;
    const key = edit.op === 'remove' ? edit.key : overlayKey(kind, edit.item);
    const was = register.items[kind].get(key);
    before.remember(kind, key);
    if (edit.op === 'remove') {
      const faults = register.checkRemoval(kind, key);
      if (faults.length > 0) return faults;
    }
    if (was && edit.op !== 'add') {
      register.take(kind, key);
      undo.push(() => register.put(kind, was));
    }
    if (edit.op === 'remove') return [];
    const faults = register.check(kind, edit.item);
    if (faults.length > 0) return faults;
    register.put(kind, edit.item);
    undo.push(() => register.take(kind, key));
    // Its members were fit for the network as it was.
    return kind === 'network' && was ? this.#misfits(key) : [];
  }

  /** What a network that was exchanged has in it, and should not have. */
  #misfits(network: string): OverlayFault[] {
    const faults: OverlayFault[] = [];
    for (const kind of ['instance', 'remote', 'service'] as const) {
      for (const [key, item] of [...this.#register.items[kind]]) {
        if (item.network !== network) continue;
        this.#register.take(kind, key);
        for (const fault of this.#register.check(kind, item as never)) {
          faults.push({ ...fault, key: 'subnet', message: `${kind} ${key}: ${fault.message}` });
        }
        this.#register.put(kind, item as never);
      }
    }
    return faults;
  }

  #changed(before: Before): { changes: readonly OverlayChange[]; state: OverlayState } {
    const changes = before.changes(this.#register, this.#head);
    if (changes.length > 0) this.#state = this.#snapshot(this.#state, before);
    return { changes, state: this.state };
  }

  /** What `before` has not touched is as it was in `last`. */
  #snapshot(last?: OverlayState, before?: Before): OverlayState {
    const { network, instance, remote, service, rule, snat } = this.#register.items;
    const kept = (kind: OverlayKind) => (before?.touched(kind) ? undefined : last);
    return {
      underlay: this.#underlay,
      networks: kept('network')?.networks ?? new Map(network),
      instances: kept('instance')?.instances ?? new Map(instance),
      remotes: kept('remote')?.remotes ?? new Map(remote),
      policy: { ...this.#head, rules: kept('rule')?.policy.rules ?? [...rule.values()] },
      services: kept('service')?.services ?? new Map(service),
      snat: kept('snat')?.snat ?? [...snat.values()],
    };
  }
}

type Listed = 'network' | 'instance' | 'remote' | 'service';
const LISTED: readonly Listed[] = ['network', 'instance', 'remote', 'service'];

/** What stood there before an edit, as far as the edit may have touched it. */
class Before {
  readonly #register: OverlayRegister;
  readonly #head: PolicyHead;
  readonly #items = new Map<OverlayKind, Map<string, OverlayItems[OverlayKind] | undefined>>();
  readonly #rules: readonly string[];

  constructor(register: OverlayRegister, head: PolicyHead) {
    this.#register = register;
    this.#head = head;
    this.#rules = [...register.items.rule.keys()];
  }

  remember(kind: OverlayKind, key: string): void {
    const items = this.#items.get(kind) ?? new Map<string, OverlayItems[OverlayKind] | undefined>();
    this.#items.set(kind, items);
    if (!items.has(key)) items.set(key, this.#register.items[kind].get(key));
  }

  touched(kind: OverlayKind): boolean {
    return this.#items.has(kind);
  }

  /** Removals from the last kind to the first, additions from the first to the last. */
  changes(after: OverlayRegister, head: PolicyHead): OverlayChange[] {
    const removed: OverlayChange[] = [];
    const added: OverlayChange[] = [];
    const exchanged = new Set<string>();
    for (const kind of LISTED) {
      for (const [key, was] of this.#items.get(kind) ?? []) {
        const is = after.items[kind].get(key);
        if (same(was, is)) continue;
        if (kind === 'network' && was && is) exchanged.add(key);
        if (was) removed.unshift({ kind, op: 'removed', item: was } as OverlayChange);
        if (is) added.push({ kind, op: 'added', item: is } as OverlayChange);
      }
      // With its network all that is in it is made anew.
      if (kind === 'network' || exchanged.size === 0) continue;
      for (const [key, is] of after.items[kind]) {
        const was = this.#items.get(kind)?.has(key) ? this.#items.get(kind)!.get(key) : is;
        if (!exchanged.has(is.network) || !same(was, is)) continue;
        removed.unshift({ kind, op: 'removed', item: was } as OverlayChange);
        added.push({ kind, op: 'added', item: is } as OverlayChange);
      }
    }
    const policy = !isDeepStrictEqual(this.#head, head) || this.#differs('rule', after) || this.#reordered(after);
    return [
      ...removed,
      ...added,
      ...(policy ? [{ kind: 'policy' } as const] : []),
      ...(this.#differs('snat', after) ? [{ kind: 'snat' } as const] : []),
    ];
  }

  #differs(kind: 'rule' | 'snat', after: OverlayRegister): boolean {
    for (const [key, was] of this.#items.get(kind) ?? []) if (!same(was, after.items[kind].get(key))) return true;
    return false;
  }

  #reordered(after: OverlayRegister): boolean {
    return this.touched('rule') && !isDeepStrictEqual(this.#rules, [...after.items.rule.keys()]);
  }
}

/** Where it came from is not what it is. */
function same(a: object | undefined, b: object | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && isDeepStrictEqual({ ...a, origin: '' }, { ...b, origin: '' });
}
