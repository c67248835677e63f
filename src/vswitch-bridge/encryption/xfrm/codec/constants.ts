/** Numbers of linux/xfrm.h and linux/udp.h. */

export const XFRM_MSG = {
  NEWSA: 16,
  DELSA: 17,
  GETSA: 18,
  NEWPOLICY: 19,
  DELPOLICY: 20,
  GETPOLICY: 21,
  EXPIRE: 24,
  UPDPOLICY: 25,
  UPDSA: 26,
  FLUSHSA: 28,
  FLUSHPOLICY: 29,
} as const;

const NAMES = new Map<number, string>(Object.entries(XFRM_MSG).map(([name, value]) => [value, `XFRM_MSG_${name}`]));
export const xfrmMessageName = (type: number): string => NAMES.get(type) ?? `XFRM message ${type}`;

export const XFRMA = {
  ENCAP: 4,
  TMPL: 5,
  SA: 6,
  ALG_AEAD: 18,
  MARK: 21,
  REPLAY_ESN_VAL: 23,
  SA_EXTRA_FLAGS: 24,
  PROTO: 25,
  SET_MARK: 29,
  SET_MARK_MASK: 30,
  IF_ID: 31,
} as const;

export const XFRM_MODE_TRANSPORT = 0;
export const XFRM_STATE_ESN = 128;
export const XFRM_POLICY = { IN: 0, OUT: 1, FWD: 2 } as const;
export const XFRM_ACTION = { ALLOW: 0, BLOCK: 1 } as const;
/** Multicast groups, by number. */
export const XFRMNLGRP = { ACQUIRE: 1, EXPIRE: 2, SA: 3, POLICY: 4 } as const;

export const UDP_ENCAP = 100;
export const UDP_ENCAP_ESPINUDP = 2;

export const AEAD_NAME = 'rfc4106(gcm(aes))';
export const ICV_BITS = 128;

/** Sizes of structures: the kernel's on 64 bits, which is what iproute2 sends. */
export const SIZE = {
  ADDRESS: 16,
  SELECTOR: 56,
  ID: 24,
  LIFETIME_LIMITS: 64,
  LIFETIME: 32,
  SA: 224,
  SA_ID: 24,
  POLICY: 168,
  POLICY_ID: 64,
  TEMPLATE: 64,
  ENCAPSULATION: 24,
  ALGORITHM: 72,
  REPLAY: 24,
} as const;
