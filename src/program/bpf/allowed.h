/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Whose packets are taken out of a tunnel, where it ends, and whom they may be for. Whoever attaches the program says so. */
#ifndef XSKIP_ALLOWED_H
#define XSKIP_ALLOWED_H

#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "address.h"
#include "siphash.h"
#include "tally.h"

#define MAX_ADDRESSES 8192
#define MAX_SENDERS 1024
#define MASTERS 2

/* From which the keys of SYN cookies come. */
struct master {
	struct sip_key key;
	__u64 last_epoch; /* its cookies count up to this one; 0: there is no such master */
};

/* Set before loading. Another xskip than the one that attached it reads this, too: `version` says how it is to be read. */
struct settings {
	__u32 version;
	__u32 any_sender;  /* `senders` is not asked */
	__u64 attached_at; /* seconds since 1970 */
	__u32 made_clsact; /* the qdisc was not there before */
	__u32 reserved;
	struct master masters[MASTERS]; /* the present one and the one before; without any, no handshake is taken over */
};

const volatile struct settings settings = {};

/* What an address is to us; it may be both. */
enum role {
	ROLE_NONE = 0,
	ROLE_TUNNEL_END = 1, /* outer destinations */
	ROLE_VIP = 2,        /* inner ones */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* there are a few, as a rule */
	__type(key, struct address);
	__type(value, enum role);
} addresses SEC(".maps");

/* A prefix. The family is a part of it, so that ::/0 is not all of IPv4 as well. */
struct sender {
	__u32 prefix_len; /* in bits of what follows */
	__u32 family;     /* 4 or 6 */
	__u32 words[4];   /* IPv4: the first one */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_SENDERS);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* the kernel has no others */
	__type(key, struct sender);
	__type(value, enum verdict); /* UNDECIDED */
} senders SEC(".maps");

static __always_inline enum role role_of(const struct address *address)
{
	const enum role *role = bpf_map_lookup_elem(&addresses, address);

	return role ? *role : ROLE_NONE;
}

static __always_inline enum role role_of_ipv4(__be32 ipv4)
{
	/* Both machines that this is built for are little-endian. */
	struct address address = { .halves = { 0, bpf_htonl(0xffff) | (__u64)ipv4 << 32 } };

	return role_of(&address);
}

static __always_inline enum role role_of_ipv6(const struct in6_addr *ipv6)
{
	struct address address;

	/* On the wire a mapped address is nobody's (RFC 4942 section 2.2); in the table it is IPv4. */
	if (!ipv6->s6_addr32[0] && !ipv6->s6_addr32[1] && ipv6->s6_addr32[2] == bpf_htonl(0xffff))
		return ROLE_NONE;
	__builtin_memcpy(&address, ipv6, sizeof(address));
	return role_of(&address);
}

static __always_inline int is_allowed_ipv4(__be32 ipv4)
{
	struct sender sender = { .prefix_len = 160, .family = 4, .words = { ipv4 } };

	return settings.any_sender || bpf_map_lookup_elem(&senders, &sender);
}

static __always_inline int is_allowed_ipv6(const struct in6_addr *ipv6)
{
	struct sender sender = { .prefix_len = 160, .family = 6 };

	__builtin_memcpy(sender.words, ipv6, sizeof(sender.words));
	return settings.any_sender || bpf_map_lookup_elem(&senders, &sender);
}

#endif
