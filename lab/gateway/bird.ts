/**
 * BIRD 2 as G: the same offer to the ToRs as FRR makes. Its OSPF calculates routes once a second at most (`tick`, whole
 * seconds), so G's own floor is anything up to that; its BGP needs fractions of a millisecond.
 */
import { GATEWAY, type Protocol, TOR_NAMES, TORS } from '../topology/plan.ts';

export function gatewayBird(protocol: Protocol): string {
  const ospf = `
protocol ospf v2 fabric {
  tick 1;
  ipv4 {
    import all;
    export where source = RTS_STATIC;
  };
  area 0 {
${TOR_NAMES.map(
  (tor) => `    interface "${TORS[tor].gatewayPort}" {
      type ptp;
      hello 1;
      dead count 4;
    };
`,
).join('')}  };
}
`;
  const bgp = TOR_NAMES.map(
    (tor) => `
protocol bgp tor_${tor.toLowerCase()} {
  local ${TORS[tor].peer} as ${GATEWAY.asn};
  neighbor ${TORS[tor].address} as ${TORS[tor].asn};
  hold time 3;
  keepalive time 1;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv4 {
    import all;
    # What one ToR says the other hears, as FRR does it without being asked.
    export where source = RTS_STATIC || source = RTS_BGP;
  };
}
`,
  ).join('');
  return `log stderr all;
router id ${GATEWAY.routerId};

protocol device {
  scan time 10;
}

protocol direct {
  ipv4;
}

protocol kernel {
  ipv4 {
    # Not the default route itself: it is only offered to the ToRs.
    export where source = RTS_OSPF || source = RTS_OSPF_IA || source = RTS_OSPF_EXT1 || source = RTS_OSPF_EXT2 || source = RTS_BGP;
  };
}

protocol static offer {
  ipv4;
  route 0.0.0.0/0 blackhole;
}
${protocol === 'bgp' ? '' : ospf}${protocol === 'ospf' ? '' : bgp}`;
}
