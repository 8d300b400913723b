/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * To measure by: `redirect` sends every frame out of another interface and does nothing else; `sink` counts and ends them; `pass_on` sends
 * frames on to other stations of the link they came by, both ways of a service.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "reply.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 target = 0;

#define PLAIN_IPV4 0x45 /* the version, and a header without options */
#define MAX_BACKENDS 8

/* Set before loading: the service's address, the station of its clients, and those of its backends. */
const volatile __be32 service = 0;
const volatile __u8 client[ETH_ALEN] = {};
const volatile __u8 backends[MAX_BACKENDS][ETH_ALEN] = {};
const volatile __u32 backend_count = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ended SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect(target, 0);
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&ended, &zero);

	(void)ctx;
	if (count)
		*count += 1;
	return XDP_DROP;
}

/* From us to a station. By redirection: a veth takes what is sent by XDP_TX only where the other end has a program, too. */
static __always_inline int send_to(const struct xdp_md *ctx, struct ethhdr *ethernet, const volatile __u8 *station)
{
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	for (int i = 0; i < ETH_ALEN; i++)
		ethernet->h_dest[i] = station[i];
	return send_back(ctx, 1);
}

/*
 * Neither a look-up nor a checksum: which backend is for the client's port to say, so nothing is to be remembered. Ports stand at the same
 * place in TCP and UDP.
 */
SEC("xdp")
int pass_on(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__be16 *ports = (void *)(ip + 1);
	__u32 which;

	if ((void *)(ports + 2) > data_end || ethernet->h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)ip != PLAIN_IPV4)
		return XDP_PASS;
	if (ip->saddr == service)
		return send_to(ctx, ethernet, client);
	if (ip->daddr != service)
		return XDP_PASS;
	which = bpf_ntohs(ports[0]) % backend_count;
	return which < MAX_BACKENDS ? send_to(ctx, ethernet, backends[which]) : XDP_PASS;
}
