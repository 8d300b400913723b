/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is read of the kernel's own structures, found by its BTF wherever it lies there, and the function that adopts a connection. */
#ifndef XSKIP_KERNEL_H
#define XSKIP_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define FOUND_BY_BTF __attribute__((preserve_access_index))

struct sock_common {
	__u32 skc_tw_rcv_nxt;
} FOUND_BY_BTF;

struct inet_timewait_sock {
	struct sock_common __tw_common;
} FOUND_BY_BTF;

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} FOUND_BY_BTF;

/* Where some versions of the kernel have it. */
struct tcp_timewait_sock___own {
	__u32 tw_rcv_nxt;
} FOUND_BY_BTF;

struct tcp_request_sock {
	__u32 rcv_nxt;
} FOUND_BY_BTF;

/* What a connection's two ends have agreed on. The kernel wants its size to be this one, and the reserved octets to be 0. */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

/* More than a name: libbpf takes a function for another one whose argument points to what it knows nothing of. */
struct sock {
	struct sock_common __sk_common;
} FOUND_BY_BTF;

/* Whoever loads this has looked whether the kernel has it, and says a clear sentence where it has not. */
extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *listener, struct bpf_tcp_req_attrs *attrs,
				   int attrs__sz) __ksym;

/* The number that a TIME-WAIT expects next. */
static __always_inline __u32 expected_by(struct tcp_timewait_sock *waiting)
{
	struct tcp_timewait_sock___own *own = (void *)waiting;

	if (bpf_core_field_exists(own->tw_rcv_nxt))
		return BPF_CORE_READ(own, tw_rcv_nxt);
	return BPF_CORE_READ(waiting, tw_sk.__tw_common.skc_tw_rcv_nxt);
}

#endif
