/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is decided, and the tables behind it. */
#ifndef XSKIP_MAPS_H
#define XSKIP_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define MAX_FRAGMENTED 1024

/* What was decided, and why: indices into `verdicts`. */
enum verdict {
	PASSED_FOREIGN,     /* not addressed to us */
	PASSED_MALFORMED,   /* cannot be judged: the kernel's business */
	PASSED_VLAN,        /* of another VLAN than is served: another link, where the kernel may have addresses */
	REDIRECTED_OWN,     /* an address of the stack's own */
	REDIRECTED_SHARED,  /* a port that is served at an address the kernel keeps */
	REDIRECTED_ARP,     /* an ARP packet that asks for an address of the stack's own */
	REDIRECTED_NEIGHBOUR, /* a neighbour solicitation likewise */
	DROPPED_NO_SOCKET,  /* ours, but no socket serves the queue: a SYN is sent again, not reset */
	ANSWERED_SYN,       /* by a SYN-ACK with a cookie */
	DROPPED_SYN,        /* no cookie can hold it, it breaks a rule, a checksum is wrong, or nobody can have sent it */
	DROPPED_BUDGET,     /* a SYN for whose source prefix enough were answered */
	DROPPED_CLOSED,     /* a SYN for a closed port */
	DROPPED_ACK,        /* no flow's, and its numbers are no cookie */
	DROPPED_RESET,      /* no flow's */
	DROPPED_STRAY,      /* no flow's, and neither SYN, ACK nor RST; or a fragment, or neither TCP, UDP nor ICMP */
	DROPPED_PARTIAL,    /* its TCP header is cut off */
	SPLICED,            /* a pair's, and translated for the other side */
	ANSWERED_SPLICE_TOO_BIG, /* a pair's, as all that follow: it does not fit the other side's way, and its sender is told */
	DROPPED_SPLICE_TOO_BIG,  /* likewise, and may not be told, or was told enough */
	DROPPED_SPLICE_MALFORMED, /* its headers contradict themselves, or each other */
	DROPPED_SPLICE_HOP_LIMIT, /* it has come too far */
	DROPPED_SPLICE_PARTIAL,  /* hardware was to finish its checksum, and did not */
	DROPPED_SPLICE_CHECKSUM, /* a RST that was damaged */
	DROPPED_SPLICE_SYN,      /* one that acknowledges or closes */
	DROPPED_SPLICE_NO_ACK,   /* neither RST, SYN nor ACK */
	DROPPED_SPLICE_SEQUENCE, /* its receiver would neither take nor answer it */
	DROPPED_SPLICE_ACK,      /* it acknowledges what was never sent, or was long ago */
	DROPPED_SPLICE_RESET,    /* a RST outside the window */
	DROPPED_SPLICE_UNDELIVERED, /* what is sent from here arrives no more: what comes then is the stack's */
	VERDICTS,
	NO_VERDICT,
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* one for each queue: set before loading */
	__type(key, __u32);
	__type(value, __u32);
} queues SEC(".maps");

/* What the fragments of a packet have in common: its ends, and a number that its sender gave it. */
struct fragmented {
	__u32 addresses[8];
	__u32 id;
};

/* Packets for shared ports whose first fragment was seen, and what became of that; the latest of them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTED);
	__type(key, struct fragmented);
	__type(value, enum verdict);
} fragmented SEC(".maps");

/* What becomes of a packet that is the load balancer's: indices behind those. `FIRST_OUTCOME` is in outcomes.h. */
#define MAX_COUNTERS 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

static __always_inline void count(__u32 verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &verdict);

	if (counter)
		*counter += 1;
}

#endif
