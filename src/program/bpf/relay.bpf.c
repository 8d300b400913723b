/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Takes every frame off an interface, whomever it is for: the relay of an impaired lab carries them all. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The AF_XDP socket of each queue; resized before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} queues SEC(".maps");

SEC("xdp")
int relay(struct xdp_md *ctx)
{
	return bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
}
