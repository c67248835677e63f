/** What stories of two hosts are told with. */
import { decodeControl } from '../../../src/vswitch-bridge/encryption/codec/control.ts';
import { parseSpi } from '../../../src/vswitch-bridge/encryption/codec/spi.ts';
import { decodeVxlan } from '../../../src/vswitch-bridge/encryption/codec/vxlan.ts';
import type { Policy } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import type { Datagram } from './fake-worker.ts';
import { type Host, Pair } from './hosts.ts';

/** A datagram in a line: `encrypted V1`, `plain V2 off`, `notification V2 off`. */
export function text({ port, payload }: Datagram): string {
  if (port === 4789) {
    const vxlan = decodeVxlan(payload);
    if ('error' in vxlan || !vxlan.indication) return 'vxlan';
    return `plain V${vxlan.indication.version}${vxlan.indication.off ? ' off' : ''}`;
  }
  const spi = parseSpi(Buffer.from(payload).readUInt32BE(0));
  if (spi?.range === 'encrypted') return `encrypted V${spi.version}`;
  if (spi?.range === 'plain') return `plain V${spi.version}${spi.off ? ' off' : ''}`;
  const control = decodeControl(payload);
  if ('error' in control) return control.error;
  return `${control.kind} V${control.held[0]?.version ?? 0}${control.off ? ' off' : ''}`;
}

export const isData = (line: string) => line.startsWith('encrypted') || line.startsWith('plain');
export const data = (pair: Pair, from: Host, since = 0) =>
  pair.capture.filter((one) => one.from === from.address && one.at >= since && isData(text(one))).map(text);
export const states = ({ a, b }: Pair) => [a, b].map(({ encryption }) => encryption.view()[0]!.state);
export const unique = (lines: readonly string[]) => lines.filter((line, index) => line !== lines[index - 1]);

export async function bothAtV1(policy: Policy, plainForm: 'esp' | 'vxlan' = 'esp'): Promise<Pair> {
  const pair = await Pair.make(policy, plainForm);
  pair.a.keys.only(1);
  pair.b.keys.only(1);
  pair.run(50);
  return pair;
}
