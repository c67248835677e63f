/** What of the kernel's nftables the policy needs: asked by rulesets that are checked and never loaded (`nft -c`). */
import { check, NftError, type NftOptions } from './nft.ts';

const WRAPPED = (rule: string, hook = 'type filter hook prerouting priority 0'): string =>
  `table inet peerless_check { chain c { ${hook}; ${rule}; }; }\n`;

const FEATURES: readonly (readonly [what: string, option: string, ruleset: string])[] = [
  ['nftables', 'CONFIG_NF_TABLES_INET', WRAPPED('counter')],
  [
    'nftables on bridges',
    'CONFIG_NF_TABLES_BRIDGE',
    'table bridge peerless_check { chain c { type filter hook prerouting priority -300; meta mark set 1; }; }\n',
  ],
  ['connection tracking in nftables', 'CONFIG_NFT_CT', WRAPPED('ct state invalid drop')],
  [
    'conntrack zones',
    'CONFIG_NF_CONNTRACK_ZONES',
    WRAPPED('ct zone set 5', 'type filter hook prerouting priority -300'),
  ],
  ['conntrack marks', 'CONFIG_NF_CONNTRACK_MARK', WRAPPED('ct mark set 1')],
  ['NAT', 'CONFIG_NFT_NAT', WRAPPED('dnat ip to 192.0.2.1', 'type nat hook prerouting priority -100')],
  ['numgen', 'CONFIG_NFT_NUMGEN', WRAPPED('numgen random mod 2 0 counter')],
  ['fib', 'CONFIG_NFT_FIB_INET', WRAPPED('fib daddr type local counter')],
  ['limit', 'CONFIG_NFT_LIMIT', WRAPPED('limit rate over 1000 bytes/second drop')],
  ['reject', 'CONFIG_NFT_REJECT_INET', WRAPPED('reject with icmpx port-unreachable')],
  [
    'sets of concatenated ranges',
    'Linux 5.6',
    'table inet peerless_check { set s { type ipv4_addr . inet_service; flags interval; elements = { 192.0.2.1 . 80-90 }; }; }\n',
  ],
];

/** In plain words, with what has to be built into the kernel; without nft itself that alone is said. */
export async function missingFeatures(options: NftOptions = {}): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const [what, option, ruleset] of FEATURES) {
    try {
      await check(ruleset, options);
    } catch (error) {
      if (!(error instanceof NftError)) throw error;
      if (/ENOENT/.test(error.said)) return ['the program nft (package nftables)'];
      missing.push(`${what} (${option})`);
    }
  }
  return missing;
}
