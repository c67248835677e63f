/** Rewrite mode from the agent's side: the life of our keys, and the word to the others when we leave the mode. */
import { randomInt } from 'node:crypto';
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { Address } from '../../model/address.ts';
import { config, KEY_FIELD, LAYOUT_VERSION, MODE } from './maps/layout.ts';
import { readIndex, type Tables } from './maps/tables.ts';
import type { FastPathSettings } from './types.ts';

const EPOCHS = 256;
/** `bpf/rewrite_control.h`: kind and epoch in the reserved bits of a VXLAN header. */
const CONTROL_BYE = 4;

type Mode = Pick<FastPathSettings, 'mode' | 'keyField'>;

/** Keys of one mean nothing in another. */
export interface Life {
  /** 1 to 255. */
  readonly epoch: number;
  /** ns of CLOCK_MONOTONIC. */
  readonly born: bigint;
}

function current(tables: Tables) {
  const settings = readIndex(tables.config, 0, config);
  const [epoch = 0n, born = 0n] = settings.rewrite;
  return { ...settings, written: settings.layout === LAYOUT_VERSION, epoch: Number(epoch), born };
}

/**
 * The maps hold keys of this mode and field: they stay valid. Else all is void that was told: another epoch says so to the
 * others, and the time says to the programs how long somebody may not have heard of it.
 *
 * @param now ms of CLOCK_MONOTONIC
 */
export function lifeFor(tables: Tables, { mode, keyField }: Mode, now: number): Life {
  const { written, epoch, born, mode: before, key_field: field } = current(tables);
  if (written && epoch !== 0 && before === MODE[mode] && field === KEY_FIELD[keyField]) return { epoch, born };
  const another = randomInt(1, EPOCHS - 1);
  return { epoch: another === epoch ? EPOCHS - 1 : another, born: BigInt(Math.round(now * 1e6)) };
}

/** Whether what the others have been told ends with these settings; undefined: with the mode itself. */
export function leavesRewriting(tables: Tables, next: Mode | undefined): boolean {
  const { written, mode, key_field: field } = current(tables);
  if (!written || mode !== MODE.rewrite) return false;
  return next?.mode !== 'rewrite' || KEY_FIELD[next.keyField] !== field;
}

/**
 * BYE: what this host has told of keys means nothing (any more). A word that is lost costs that host's packets some seconds.
 *
 * @throws the first refusal, when the others have been told
 */
export function sayFarewell(tables: Tables, underlay: Address, hosts: readonly Address[], netns?: string): void {
  if (hosts.length === 0) return;
  const message = Buffer.alloc(8);
  message.writeUInt32BE(((0x08 << 24) | (CONTROL_BYE << 20)) >>> 0, 0);
  const { epoch, vxlan_port: port } = current(tables);
  message.writeUInt32BE(epoch, 4);
  const socket = LinuxSocket.open({
    family: AF.INET,
    type: SOCK.DGRAM,
    protocol: 0,
    ...(netns === undefined ? {} : { netns }),
  });
  const refusals: unknown[] = [];
  try {
    socket.bind({ family: 'ipv4', address: underlay, port: 0 });
    for (const address of hosts) {
      try {
        socket.sendBatch([{ data: message, to: { family: 'ipv4', address, port } }]);
      } catch (error) {
        refusals.push(error);
      }
    }
  } finally {
    socket.close();
  }
  if (refusals.length > 0) throw refusals[0];
}
