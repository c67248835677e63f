/*
 * The XFRM back end: the kernel's own ESP instead of the packet worker, behind the same face. See projection.ts for what stands in
 * the kernel and in which order, table.ts for what the kernel can't do, docs/encryption.md for both in words.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Address } from '../../../model/address.ts';
import type { Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { OpenWorker, Worker } from '../worker-face.ts';
import { XfrmDriver } from './driver.ts';
import { PortHolder } from './holder.ts';
import { XfrmFiles } from './memory.ts';
import type { Ends } from './projection.ts';
import { xfrmLacks } from './requests.ts';
import { noRules, rulesFor } from './rules.ts';
import { XfrmTable } from './table.ts';

export type { Ends } from './projection.ts';
export { blockPlainText, removeFromKernel, xfrmLacks } from './requests.ts';
export { TABLE as RULES_TABLE } from './rules.ts';

export interface XfrmPlace {
  readonly ends: Ends;
  /** Of the run time: goes with the boot. */
  readonly directory: string;
  /** One transaction of nftables. Rejects when it is refused. */
  readonly loadRules: (text: string) => Promise<void>;
  readonly netns?: string | undefined;
}

export interface XfrmOptions extends XfrmPlace {
  readonly clock: Clock;
  readonly log: Log;
  /** Calls when another program has taken the rules away, and answers with what ends it. */
  readonly watchRules?: (removed: () => void) => () => void;
  /** Of each table that is opened. */
  readonly opened?: (table: Pick<XfrmTable, 'problems'>) => void;
}

/** Rejects when the kernel has no ESP: nothing is sent in plain text instead. */
export function openXfrmWorker(options: XfrmOptions): OpenWorker {
  return async (events, closed) => {
    const lacks = await xfrmLacks(options.netns);
    if (lacks !== undefined) throw new Error(`backend xfrm: ${lacks}`);
    return openTable(options, events, closed);
  };
}

async function openTable(
  { ends, directory, loadRules, watchRules, clock, log, opened, netns }: XfrmOptions,
  ...[events, closed]: Parameters<OpenWorker>
): Promise<Worker> {
  let table: XfrmTable | undefined;
  let ended = false;
  let unwatch: (() => void) | undefined;
  const end = async (keep: boolean): Promise<void> => {
    if (ended) return;
    ended = true;
    unwatch?.();
    table?.close({ keep });
    await driver.close();
  };
  const driver = XfrmDriver.open({
    ends,
    arrivals: {
      control: (from, datagram) => table?.control(from, datagram),
      plain: (from, indication) => table?.plain(from, indication),
      unreadable: (from, spi) => table?.unreadable(from, spi),
    },
    isOurs: (id) => table?.has(id) ?? false,
    lost: (reason) => {
      if (ended) return;
      log.error({ reason }, 'what the kernel had of the encryption is gone: all keys are agreed upon anew');
      // The next to open finds SAs that are not whole, and lets go of them.
      void end(true).then(closed);
    },
    loadMarks: (marks: ReadonlyMap<Address, number>) => loadRules(rulesFor(ends, marks)),
    log,
    netns,
  });
  const holder = new PortHolder(directory);
  try {
    table = await XfrmTable.open({
      ends,
      kernel: driver,
      memory: new XfrmFiles(directory),
      events,
      clock,
      log,
      defer: queueMicrotask,
    });
    await driver.marked();
    // It may have been lost meanwhile, and whoever opens it has been told.
    if (!ended) {
      unwatch = watchRules?.(() => {
        log.warn({}, 'somebody has removed the rules that tell peers apart: they are loaded again');
        driver.markAgain();
      });
      opened?.(table);
      holder.begin(driver.espPort, (error) =>
        log.warn({ err: error }, 'nobody holds the port of ESP: without the agent nothing is decrypted'),
      );
    }
  } catch (error) {
    await end(true);
    throw error;
  }
  const nothing = async () => undefined;
  return {
    table,
    networks: [],
    // The slow path's own tunnel ports carry everything.
    setNetwork: nothing as unknown as Worker['setNetwork'],
    removeNetwork: nothing,
    addMember: () => undefined,
    removeMember: () => undefined,
    setMac: () => undefined,
    removeMac: () => undefined,
    detach: () => void end(true),
    stop: async () => {
      await end(false);
      await forget({ directory, loadRules });
    },
  };
}

/** What is on the disk, among the processes and in nftables. */
export async function forget({ directory, loadRules }: Pick<XfrmPlace, 'directory' | 'loadRules'>): Promise<void> {
  new PortHolder(directory).end();
  rmSync(directory, { recursive: true, force: true });
  await loadRules(noRules());
}

/** A process that an agent has left holds the port in this network namespace, and says so in that directory. */
export const heldHere = (directory: string): boolean => new PortHolder(directory).isHere();

/** Another `directory` from now on. What is known in both is known better in the later one. */
export function moveXfrm(from: string, to: string): void {
  if (existsSync(to)) {
    new PortHolder(from).end();
    rmSync(from, { recursive: true, force: true });
    return;
  }
  mkdirSync(dirname(to), { recursive: true });
  renameSync(from, to);
}
