/**
 * Tells when somebody else has changed a ruleset of this namespace: "nft flush ruleset", a firewall's reload. By the
 * kernel's notifications (NFNLGRP_NFTABLES), of which only the end of each transaction is read (NFT_MSG_NEWGEN, which
 * names the process that did it).
 */
import { AF, isWouldBlock, LinuxSocket, NETLINK, SOCK, SystemCallError } from 'linux-sockets';

const GROUP_BIT = 1 << (7 - 1);
/** (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWGEN */
const NEWGEN = 0x0a0f;
const GEN_PROC_PID = 2;
const PREAMBLE = 20;
const RECEIVE_BUFFER = 2 << 20;

export interface TableWatchOptions {
  readonly netns?: string | undefined;
  /** Process numbers of our own loads. */
  readonly isOurs: (pid: number) => boolean;
  /** Somebody changed something, or notifications were lost. */
  readonly changed: () => void;
}

export class TableWatch {
  readonly #socket: LinuxSocket;
  readonly #options: TableWatchOptions;

  /** @throws SystemCallError */
  constructor(options: TableWatchOptions) {
    const { netns } = options;
    this.#options = options;
    this.#socket = LinuxSocket.open({
      family: AF.NETLINK,
      type: SOCK.RAW,
      protocol: NETLINK.NETFILTER,
      ...(netns === undefined ? {} : { netns }),
    });
    this.#socket.setBuffer('receive', RECEIVE_BUFFER);
    this.#socket.bind({ family: 'netlink', pid: 0, groups: GROUP_BIT });
    this.#socket.onReadable(() => this.#readable());
    this.#socket.unref();
  }

  close(): void {
    this.#socket.close();
  }

  #readable(): void {
    let foreign = false;
    try {
      for (const { data } of this.#socket.receiveBatch(16)) {
        for (const pid of generationsOf(data)) if (pid === undefined || !this.#options.isOurs(pid)) foreign = true;
      }
    } catch (error) {
      if (isWouldBlock(error)) return;
      if (!(error instanceof SystemCallError)) throw error;
      // ENOBUFS: who knows what was lost.
      foreign = true;
    }
    if (foreign) this.#options.changed();
  }
}

/** Who made each new generation that the datagram tells of; undefined: it does not say. What is malformed is no generation. */
export function generationsOf(bytes: Buffer): (number | undefined)[] {
  const found: (number | undefined)[] = [];
  for (let at = 0; at + PREAMBLE <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < PREAMBLE || length > bytes.length - at) break;
    if (bytes.readUInt16LE(at + 4) === NEWGEN) found.push(processOf(bytes, at + PREAMBLE, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

function processOf(bytes: Buffer, start: number, end: number): number | undefined {
  for (let at = start; at + 4 <= end; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || length > end - at) return undefined;
    if ((bytes.readUInt16LE(at + 2) & 0x3fff) === GEN_PROC_PID && length >= 8) return bytes.readUInt32BE(at + 4);
    at += (length + 3) & ~3;
  }
  return undefined;
}
