/**
 * Whether some interface takes only what it would itself answer by (`rp_filter` 1, RFC 3704 §2.2).
 *
 * There is a file for each interface, and a box may have a thousand of them. But the kernel tells of every change of such
 * a setting, and of settings that come and go with their interface (RTNLGRP_IPV4_NETCONF): so they are read once, and
 * again when it has told something. What it has told is looked for when somebody asks, so that an answer is never older
 * than the question.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { AF, LinuxSocket, NETLINK, SOCK, SOL, SystemCallError, withNetns } from 'linux-sockets';
import type { Clock, Timer } from '../model/clock.ts';

const RTNLGRP_IPV4_NETCONF = 24;
const CONF = '/proc/sys/net/ipv4/conf';
/** Interfaces come and go by the hundred: they are read once for all that are told of within this (ms). */
const LOOK_AFTER = 100;

export interface ReversePathOptions {
  /** Name in /run/netns or absolute path. */
  readonly netns: string | undefined;
  readonly clock: Clock;
  /** It is another answer than the last one. */
  onChange(strict: boolean): void;
}

export class ReversePath {
  readonly #options: ReversePathOptions;
  /** undefined: the kernel does not tell us, and so the files are read each time. */
  #socket: LinuxSocket | undefined;
  #known: boolean | undefined;
  #answered: boolean | undefined;
  #timer: Timer | undefined;
  /** How often the files were read. */
  readings = 0;

  constructor(options: ReversePathOptions) {
    this.#options = options;
    this.#socket = this.#listen();
  }

  /** As it is now. */
  get strict(): boolean {
    if (!this.#socket || this.#told()) this.#known = undefined;
    if (this.#known === undefined) {
      const { netns } = this.#options;
      this.readings++;
      this.#known = netns === undefined ? isStrict() : withNetns(netns, isStrict);
    }
    this.#answered = this.#known;
    return this.#known;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#socket?.close();
    this.#socket = undefined;
  }

  #listen(): LinuxSocket | undefined {
    const { netns } = this.#options;
    let socket: LinuxSocket | undefined;
    try {
      const place = netns === undefined ? {} : { netns };
      socket = LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: NETLINK.ROUTE, ...place });
      socket.bind({ family: 'netlink', pid: 0, groups: 0 });
      socket.setOption(SOL.NETLINK, NETLINK.ADD_MEMBERSHIP, RTNLGRP_IPV4_NETCONF);
      socket.onReadable(() => this.#heard());
      socket.unref();
      return socket;
    } catch (error) {
      socket?.close();
      if (error instanceof SystemCallError) return undefined;
      throw error;
    }
  }

  #heard(): void {
    if (!this.#told()) return;
    this.#known = undefined;
    const { clock, onChange } = this.#options;
    this.#timer ??= clock.schedule(clock.now() + LOOK_AFTER, () => {
      this.#timer = undefined;
      const before = this.#answered;
      const now = this.strict;
      if (before !== undefined && before !== now) onChange(now);
    });
  }

  /** The kernel has told something since this was last asked; also when it was too much to be kept (ENOBUFS). */
  #told(): boolean {
    let told = false;
    try {
      while (this.#socket && this.#socket.receiveBatch().length > 0) told = true;
      return told;
    } catch (error) {
      if (error instanceof SystemCallError) return true;
      throw error;
    }
  }
}

function isStrict(): boolean {
  const modeOf = (name: string): number => {
    try {
      return Number(readFileSync(`${CONF}/${name}/rp_filter`, 'utf8'));
    } catch {
      // It has just gone.
      return 0;
    }
  };
  const all = modeOf('all');
  const names = readdirSync(CONF).filter((name) => name !== 'all' && name !== 'default' && name !== 'lo');
  return names.some((name) => Math.max(all, modeOf(name)) === 1);
}
