// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* What of the kernel's own packet is read besides __sk_buff. Kernels before 6.2 don't show it. */
#ifndef PEERLESS_KERNEL_H
#define PEERLESS_KERNEL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct sk_buff {
  unsigned long _nfct;
  unsigned char ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *skb) __ksym __weak;

/* The kernel's `ip_summed`: what the sum of TCP or UDP in a packet means just now. */
#define SUM_NONE 0
#define SUM_UNNECESSARY 1
#define SUM_COMPLETE 2
#define SUM_PARTIAL 3
#define SUM_UNKNOWN 4

static __attribute__((always_inline)) inline unsigned int summed(struct __sk_buff *skb) {
  if (!bpf_cast_to_kern_ctx || !bpf_core_field_exists(((struct sk_buff *)0)->ip_summed)) return SUM_UNKNOWN;
  struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
  return BPF_CORE_READ_BITFIELD(kernel, ip_summed);
}

#endif
