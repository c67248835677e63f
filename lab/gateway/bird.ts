/**
 * BIRD 2 as G: the same offer to the ToRs as FRR makes. Its OSPF calculates routes once a second at most (`tick`, whole
 * seconds), so G's own floor is anything up to that; its BGP needs fractions of a millisecond.
 */
import { type Family, GATEWAY, type Protocol, TOR_NAMES, TORS, type TorName } from '../topology/plan.ts';
import type { GatewayOptions } from './frr.ts';

export function gatewayBird(protocol: Protocol, options: GatewayOptions = {}): string {
  const { families = [4], multipath = false, bfd = false } = options;
  const ospf = `
protocol ospf v2 fabric {
  tick 1;
${multipath ? '  ecmp yes;\n  merge external yes;\n' : ''}  ipv4 {
    import all;
    export where source = RTS_STATIC;
  };
  area 0 {
${TOR_NAMES.map(
  (tor) => `    interface "${TORS[tor].gatewayPort}" {
      type ptp;
      hello 1;
      dead count 4;
${bfd ? '      bfd yes;\n' : ''}    };
`,
).join('')}  };
}
`;
  const bgp = families.map((family) => TOR_NAMES.map((tor) => session(tor, family, bfd)).join('')).join('');
  return `log stderr all;
router id ${GATEWAY.routerId};

protocol device {
  scan time 10;
}

${bfd ? BFD : ''}protocol direct {
${families.map((family) => `  ipv${family};\n`).join('')}}
${families.map((family) => kernelAndOffer(family, multipath)).join('')}${protocol === 'bgp' ? '' : ospf}${protocol === 'ospf' ? '' : bgp}`;
}

const kernelAndOffer = (family: Family, multipath: boolean): string => `
protocol kernel {
${multipath ? '  merge paths on;\n' : ''}  ipv${family} {
    # Not the default route itself: it is only offered to the ToRs.
    export where source = RTS_OSPF || source = RTS_OSPF_IA || source = RTS_OSPF_EXT1 || source = RTS_OSPF_EXT2 || source = RTS_BGP;
  };
}

protocol static offer${family} {
  ipv${family};
  route ${family === 4 ? '0.0.0.0/0' : '::/0'} blackhole;
}
`;

const BFD = `protocol bfd {
  interface "*" {
    interval 100 ms;
    multiplier 3;
  };
}

`;

const session = (tor: TorName, family: Family, bfd: boolean): string => `
protocol bgp tor_${tor.toLowerCase()}${family} {
  local ${family === 4 ? TORS[tor].peer : TORS[tor].peer6} as ${GATEWAY.asn};
  neighbor ${family === 4 ? TORS[tor].address : TORS[tor].address6} as ${TORS[tor].asn};
  hold time 3;
  keepalive time 1;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
${bfd ? '  bfd on;\n' : ''}  ipv${family} {
    import all;
    # What one ToR says the other hears, as FRR does it without being asked.
    export where source = RTS_STATIC || source = RTS_BGP;
  };
}
`;
