import type { HostConfig, OverlayFileEdit } from '../../config/index.ts';
import type { OverlayNetwork } from '../../model/overlay.ts';
import type { OverlayFault } from '../../model/overlay-items.ts';
import type { Edited, OverlayContent, OverlayEdit } from '../../vswitch-bridge/overlay/index.ts';

/** A change of the overlay: what the table is to do, and what the file is to say; without `file` it is kept elsewhere. */
export interface HostEdit {
  readonly edit: OverlayEdit;
  readonly file?: OverlayFileEdit;
}

/** The operator's answer to what can't be done. */
export class EditRefused extends Error {
  readonly reason: OverlayFault['reason'] | 'file';
  readonly remedy: string | undefined;

  constructor(reason: OverlayFault['reason'] | 'file', message: string, remedy?: string) {
    super(message);
    this.reason = reason;
    this.remedy = remedy;
  }
}

export interface Outcome {
  readonly actions: readonly string[];
  readonly refused: readonly string[];
}

/** The key of a name says nothing that the message does not. */
export const faultText = ({ key, at, message }: Pick<OverlayFault, 'key' | 'at' | 'message'>): string =>
  key === '' || key === 'name' ? message : `${key}${at === undefined ? '' : `[${at}]`}: ${message}`;

export function took(edited: Edited): Edited & { readonly ok: true } {
  if (edited.ok) return edited;
  const fault = edited.faults[0]!;
  throw new EditRefused(fault.reason, faultText(fault), fault.remedy);
}

/** Who encrypts VXLAN; undefined: nobody. */
type Encrypts = OverlayNetwork['encrypted'];

/** As the table has it: what the settings of encryption say of networks stands with them. */
export const contentOf = (config: HostConfig, encrypts: Encrypts): OverlayContent => ({
  ...config,
  networks: config.networks.map((network) => encrypted(network, encrypts)),
});

export const prepared = (edit: OverlayEdit, encrypts: Encrypts): OverlayEdit =>
  edit.op !== 'policy' && edit.op !== 'remove' && edit.kind === 'network'
    ? { ...edit, item: encrypted(edit.item, encrypts) }
    : edit;

const encrypted = (network: OverlayNetwork, encrypts: Encrypts): OverlayNetwork =>
  encrypts !== undefined && network.encapsulation === 'vxlan' ? { ...network, encrypted: encrypts } : network;
