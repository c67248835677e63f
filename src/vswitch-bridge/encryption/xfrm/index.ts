/*
 * The XFRM back end: the kernel's own ESP instead of the packet worker, behind the same face. See projection.ts for what stands in
 * the kernel and in which order, table.ts for what the kernel can't do, docs/encryption.md for both in words.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address } from '../../../model/address.ts';
import type { Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { OpenWorker, Worker } from '../worker-face.ts';
import { KEY_LENGTH, readAssociation, writeAssociationDump } from './codec/association.ts';
import { XFRM_MSG } from './codec/constants.ts';
import { readPolicy } from './codec/policy.ts';
import { messageOf, openXfrm, reasonOf, XfrmDriver } from './driver.ts';
import type { XfrmRequest } from './kernel-face.ts';
import { marksRuleset, noMarks } from './marks.ts';
import { XfrmFiles } from './memory.ts';
import { associationId, associationOf, blockAll, type Ends, peerOfPolicy, REQID } from './projection.ts';
import { XfrmTable } from './table.ts';

export { blockAll, type Ends, REQID } from './projection.ts';

export interface XfrmOptions {
  readonly ends: Ends;
  /** Of the run time: goes with the boot. */
  readonly directory: string;
  /** One transaction of nftables. Rejects when it is refused. */
  readonly loadRules: (text: string) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly netns?: string | undefined;
}

/** What `doctor` and `status` say; undefined: the kernel encrypts. Tried with an SA that is taken back at once. */
export async function xfrmLacks(netns?: string): Promise<string | undefined> {
  const local = '127.0.0.1' as Address;
  const ends: Ends = { local, port: 4500 };
  const peer = { address: '127.0.0.2' as Address, mark: 1 };
  // Ours by its request id: should we die in between, the next agent clears it away.
  const sa = associationOf(ends, peer, 'out', 0x8fffffff, new Uint8Array(KEY_LENGTH));
  let netlink: ReturnType<typeof openXfrm>;
  try {
    netlink = openXfrm(netns);
  } catch (error) {
    return `the kernel has no XFRM (CONFIG_XFRM_USER): ${(error as Error).message}`;
  }
  try {
    const { refused } = await netlink.sendNow([{ op: 'add-sa', sa } as const].map(messageOf));
    if (refused[0]) return reasonOf(refused[0].refusal);
    await netlink.sendNow([messageOf({ op: 'delete-sa', id: associationId(ends, peer, 'out', sa.spi) })]);
    return undefined;
  } finally {
    netlink.close();
  }
}

/** Where an agent without the back end leaves nothing in plain text until it stands. */
export async function blockPlainText(ends: Ends, netns?: string): Promise<void> {
  const netlink = openXfrm(netns);
  try {
    const { refused } = await netlink.sendNow(blockAll(ends).map((policy) => messageOf({ op: 'set-policy', policy })));
    if (refused[0]) throw new Error(reasonOf(refused[0].refusal));
  } finally {
    netlink.close();
  }
}

/** Rejects when the kernel has no ESP: nothing is sent in plain text instead. */
export const openXfrmWorker =
  (options: XfrmOptions): OpenWorker =>
  async (events, closed) => {
    const lacks = await xfrmLacks(options.netns);
    if (lacks !== undefined) throw new Error(`backend xfrm: ${lacks}`);
    return openTable(options, events, closed);
  };

async function openTable(
  { ends, directory, loadRules, clock, log, netns }: XfrmOptions,
  ...[events, closed]: Parameters<OpenWorker>
): Promise<Worker> {
  let table: XfrmTable | undefined;
  let ended = false;
  const end = async (keep: boolean) => {
    if (ended) return;
    ended = true;
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
    lost: (reason) => {
      if (ended) return;
      log.error({ reason }, 'what the kernel had of the encryption is gone: all keys are agreed upon anew');
      // The next to open finds SAs that are not whole, and lets go of them.
      void end(true).then(closed);
    },
    loadMarks: (marks) => loadRules(marks.size === 0 ? noMarks() : marksRuleset(ends, marks)),
    log,
    netns,
  });
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
  } catch (error) {
    await driver.close();
    throw error;
  }
  // The new holder first: the port is never nobody's.
  const before = holderOf(directory);
  const pid = driver.hold();
  if (pid !== undefined) writeFileSync(holderFile(directory), `${pid}\n`);
  endHolder(before);
  const nothing = async () => undefined;
  return {
    table,
    networks: [],
    // The slow path's own tunnel ports carry everything.
    setNetwork: nothing as Worker['setNetwork'],
    removeNetwork: nothing,
    addMember: () => undefined,
    removeMember: () => undefined,
    setMac: () => undefined,
    removeMac: () => undefined,
    detach: () => void end(true),
    stop: async () => {
      await end(false);
      endHolder(holderOf(directory));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What an agent with this back end left that will not be started again. */
export async function removeXfrm({
  ends,
  directory,
  loadRules,
  netns,
}: Omit<XfrmOptions, 'clock' | 'log'>): Promise<void> {
  const netlink = openXfrm(netns);
  try {
    const associations = await netlink.dump(
      { type: XFRM_MSG.GETSA, name: 'XFRM_MSG_GETSA', flags: 0, write: writeAssociationDump },
      readAssociation,
    );
    const policies = await netlink.dump(
      { type: XFRM_MSG.GETPOLICY, name: 'XFRM_MSG_GETPOLICY', flags: 0, write: () => undefined },
      readPolicy,
    );
    const requests: XfrmRequest[] = [];
    for (const sa of associations) {
      sa?.key.fill(0);
      if (sa?.reqid === REQID) requests.push({ op: 'delete-sa', id: sa });
    }
    for (const policy of policies) {
      if (policy && peerOfPolicy(ends, policy) !== undefined) requests.push({ op: 'delete-policy', id: policy });
    }
    await netlink.sendNow(requests.map(messageOf));
  } finally {
    netlink.close();
  }
  endHolder(holderOf(directory));
  rmSync(directory, { recursive: true, force: true });
  await loadRules(noMarks());
}

const holderFile = (directory: string): string => join(directory, 'holder.pid');

function holderOf(directory: string): number | undefined {
  try {
    const pid = Number(readFileSync(holderFile(directory), 'utf8'));
    // Numbers of processes come round: only what still is what we started.
    return Number.isInteger(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('/bin/sleep\0infinity')
      ? pid
      : undefined;
  } catch {
    return undefined;
  }
}

function endHolder(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(pid);
  } catch {
    // It ended by itself.
  }
}
