/** Single questions to the kernel's XFRM, and the messages that requests become. */
import { NETLINK } from 'linux-sockets';
import { Connection, type Refusal, type Request } from 'rtnetlink-ts';
import type { Address } from '../../../model/address.ts';
import {
  KEY_LENGTH,
  type ListedAssociation,
  readAssociation,
  writeAssociation,
  writeAssociationDump,
  writeAssociationId,
} from './codec/association.ts';
import { XFRM_MSG, xfrmMessageName } from './codec/constants.ts';
import { type Policy, readPolicy, writePolicy, writePolicyId } from './codec/policy.ts';
import type { XfrmRequest } from './kernel-face.ts';
import { associationOf, blockAll, type Ends, peerOfPolicy, REQID } from './projection.ts';

export const openXfrm = (netns?: string): Connection =>
  Connection.open({ protocol: NETLINK.XFRM, secret: true, ...(netns === undefined ? {} : { netns }) });

const named = (type: number, write: Request['write']): Request => ({
  type,
  name: xfrmMessageName(type),
  flags: 0,
  write,
});

export function messageOf(request: XfrmRequest): Request {
  const { NEWSA, DELSA, UPDPOLICY, DELPOLICY } = XFRM_MSG;
  switch (request.op) {
    case 'add-sa':
      return named(NEWSA, (writer) => writeAssociation(writer, request.sa));
    case 'delete-sa':
      return named(DELSA, (writer) => writeAssociationId(writer, request.id));
    case 'set-policy':
      return named(UPDPOLICY, (writer) => writePolicy(writer, request.policy));
    case 'delete-policy':
      return named(DELPOLICY, (writer) => writePolicyId(writer, request.id));
  }
}

/** With their keys: who asks zeroes them. Rejects with NetlinkError. */
export async function listAssociations(netlink: Connection): Promise<ListedAssociation[]> {
  const found = await netlink.dump(named(XFRM_MSG.GETSA, writeAssociationDump), readAssociation);
  return found.filter((sa) => sa !== undefined);
}

/** Rejects with NetlinkError. */
export async function listPolicies(netlink: Connection): Promise<Policy[]> {
  const found = await netlink.dump(
    named(XFRM_MSG.GETPOLICY, () => undefined),
    readPolicy,
  );
  return found.filter((policy) => policy !== undefined);
}

/** What the kernel lacks has codes; what they mean here. */
export function reasonOf({ code, extack, request }: Refusal): string {
  const words = extack === undefined ? '' : ` (${extack})`;
  if (code === 'EPERM') return 'not permitted: CAP_NET_ADMIN is missing';
  if (code === 'EPROTONOSUPPORT') return `the kernel has no ESP: CONFIG_INET_ESP, modprobe esp4${words}`;
  if (request === 'XFRM_MSG_NEWSA' && (code === 'ENOSYS' || code === 'ENOENT'))
    return `the kernel has no rfc4106(gcm(aes)), which comes with ESP: CONFIG_INET_ESP, modprobe esp4${words}`;
  return `${request}: ${code}${words}`;
}

/**
 * What `doctor` and `status` say; undefined: the kernel encrypts. Tried with an SA between two addresses of this host alone, which is
 * taken back at once, and before: should somebody else be trying, or have died in between, that is no answer.
 */
export async function xfrmLacks(netns?: string): Promise<string | undefined> {
  const ends: Ends = { local: '127.0.0.1' as Address, port: 4500 };
  const peer = { address: '127.0.0.2' as Address, mark: 1 };
  const sa = associationOf(ends, peer, 'out', 0x8fffffff, new Uint8Array(KEY_LENGTH));
  let netlink: Connection;
  try {
    netlink = openXfrm(netns);
  } catch (error) {
    return `the kernel has no XFRM: CONFIG_XFRM_USER (${(error as Error).message})`;
  }
  try {
    const gone = messageOf({ op: 'delete-sa', id: sa });
    const { refused } = await netlink.sendNow([gone, messageOf({ op: 'add-sa', sa }), gone]);
    const refusal = refused.find(({ index }) => index === 1)?.refusal;
    return refusal && reasonOf(refusal);
  } finally {
    netlink.close();
  }
}

/** Before a tunnel port is there: nothing leaves or comes in plain text. Rejects when the kernel refuses. */
export async function blockPlainText(ends: Ends, netns?: string): Promise<void> {
  const netlink = openXfrm(netns);
  try {
    const { refused } = await netlink.sendNow(blockAll(ends).map((policy) => messageOf({ op: 'set-policy', policy })));
    if (refused[0]) throw new Error(reasonOf(refused[0].refusal));
  } finally {
    netlink.close();
  }
}

/** SAs and policies of ours: how many. */
export async function leftInKernel(ends: Ends, netns?: string): Promise<number> {
  const { requests } = await leftovers(ends, netns);
  return requests.length;
}

/** @returns how many there were */
export async function removeFromKernel(ends: Ends, netns?: string): Promise<number> {
  const { requests } = await leftovers(ends, netns);
  if (requests.length === 0) return 0;
  const netlink = openXfrm(netns);
  try {
    await netlink.sendNow(requests.map(messageOf));
  } finally {
    netlink.close();
  }
  return requests.length;
}

async function leftovers(ends: Ends, netns?: string): Promise<{ readonly requests: readonly XfrmRequest[] }> {
  const netlink = openXfrm(netns);
  try {
    const requests: XfrmRequest[] = [];
    for (const sa of await listAssociations(netlink)) {
      sa.key.fill(0);
      if (sa.reqid === REQID) requests.push({ op: 'delete-sa', id: sa });
    }
    for (const policy of await listPolicies(netlink)) {
      if (peerOfPolicy(ends, policy) !== undefined) requests.push({ op: 'delete-policy', id: policy });
    }
    return { requests };
  } finally {
    netlink.close();
  }
}
