import type { Prefix } from '../../../../src/model/address.ts';
import type { OverlayNetwork, PolicyRule } from '../../../../src/model/overlay.ts';

/** Matches everything and says nothing, but for what is given. */
export const policyRule = (rule: Partial<PolicyRule> & { name: string }): PolicyRule => ({
  direction: 'both',
  from: 'any',
  to: 'any',
  protocol: 'any',
  ports: [],
  sourcePorts: [],
  ...rule,
});

/** blue (100) and red (200), over the same addresses. */
export const overlayNetworks = (): Map<string, OverlayNetwork> => {
  const network = (name: string, vni: number): [string, OverlayNetwork] => [
    name,
    { name, vni, subnet: '10.200.0.0/16' as Prefix, encapsulation: 'vxlan' },
  ];
  return new Map([network('blue', 100), network('red', 200)]);
};
