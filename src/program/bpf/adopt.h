/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The end of a handshake that a balancer has begun: the kernel adopts the connection as if it had answered the SYN itself. */
#ifndef XSKIP_ADOPT_H
#define XSKIP_ADOPT_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "handed.h"
#include "kernel.h"
#include "promise.h"
#include "replace.h"
#include "segment.h"
#include "strays.h"
#include "tally.h"

#define NO_MEMORY 12

/* Those of the kernel that are told apart here (enum in <net/tcp_states.h>). */
enum {
	TIME_WAIT = 6,
	LISTEN = 10,
	NEW_SYN_RECV = 12,
};

/* Why the kernel has last refused a connection, as a positive errno. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} last_refusal SEC(".maps");

static __always_inline struct bpf_sock *look_up(struct __sk_buff *skb, const struct flow *flow)
{
	struct bpf_sock_tuple tuple = {};

	if (!flow->is_ipv6) {
		tuple.ipv4.saddr = flow->addresses[0];
		tuple.ipv4.daddr = flow->addresses[1];
		tuple.ipv4.sport = flow->ports;
		tuple.ipv4.dport = flow->ports >> 16;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, flow->addresses, 16);
	__builtin_memcpy(tuple.ipv6.daddr, flow->addresses + 4, 16);
	tuple.ipv6.sport = flow->ports;
	tuple.ipv6.dport = flow->ports >> 16;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/*
 * Where the kernel will never take it, as from an MPTCP listener, it answers by itself: its RST tells the client at once what a drop
 * would have it find out in minutes.
 */
static __always_inline int refused(int error)
{
	__u32 place = 0, *last = bpf_map_lookup_elem(&last_refusal, &place);

	tally(REFUSED_ADOPTION);
	if (last)
		*last = -error;
	return error == -NO_MEMORY ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

static __always_inline int adopt(struct __sk_buff *skb, const struct segment *segment, const struct timestamps *timestamps,
				 struct bpf_sock *listener)
{
	struct sock *full = (struct sock *)bpf_skc_to_tcp_sock(listener);
	struct bpf_tcp_req_attrs attrs = {};
	int error;

	if (!full)
		return TC_ACT_UNSPEC;
	promise_of(segment, timestamps, &attrs);
	error = bpf_sk_assign_tcp_reqsk(skb, full, &attrs, sizeof(attrs));
	if (error)
		return refused(error);
	remember(segment, 0);
	tally(ADOPTED);
	return TC_ACT_UNSPEC;
}

/* The kernel has answered SYNs by itself and forgotten them (tcp_syncookies). */
static __always_inline int is_kernels_own(const struct segment *segment, struct bpf_sock *listener)
{
	return !bpf_tcp_check_syncookie(listener, (void *)&segment->ipv6, sizeof(segment->ipv6), (void *)&segment->tcp,
					sizeof(segment->tcp));
}

static __always_inline int meet_listener(struct __sk_buff *skb, const struct segment *segment, struct bpf_sock *listener)
{
	struct handed *handed = find_handed(segment);
	struct timestamps timestamps = {};
	int is_good;

	read_options(skb, segment, &timestamps);
	is_good = is_first(segment, &timestamps);
	if (is_good && is_used(handed, segment)) {
		tally(PASSED_USED);
		return TC_ACT_UNSPEC;
	}
	/* Room was made for it: this is its turn. */
	if (is_good && handed && handed->replaced && is_same(handed, segment))
		return adopt(skb, segment, &timestamps, listener);
	if (comes_behind(handed, segment))
		return go_round(skb);
	if (is_good)
		return adopt(skb, segment, &timestamps, listener);
	if (is_kernels_own(segment, listener)) {
		tally(PASSED_OWN_COOKIE);
		return TC_ACT_UNSPEC;
	}
	if (is_lasting(segment)) {
		tally(PASSED_STRAY);
		return TC_ACT_UNSPEC;
	}
	tally(DROPPED_COOKIE);
	return TC_ACT_SHOT;
}

/* Whether the numbers are near those of a connection; so are those of another one once in 2^22. */
static __always_inline int is_near(const struct segment *segment, const struct bpf_tcp_sock *connection)
{
	__u32 unacknowledged = connection->snd_nxt - connection->snd_una;

	return segment->sequence - connection->rcv_nxt + MAX_AHEAD < 2 * MAX_AHEAD &&
	       segment->acknowledged - connection->snd_una + MAX_AHEAD < unacknowledged + 2 * MAX_AHEAD;
}

/* A connection, at any age; it is another one than the segment's where neither its numbers nor the cookie that began it fit. */
static __always_inline int meet_connection(struct __sk_buff *skb, const struct segment *segment, struct bpf_sock *socket)
{
	const struct bpf_tcp_sock *connection = bpf_tcp_sock(socket);
	__u32 first;

	if (!connection)
		return TC_ACT_UNSPEC;
	first = connection->snd_una - (__u32)connection->bytes_acked;
	note_connection(segment, connection->segs_in, first);
	if (is_near(segment, connection) || segment->acknowledged == first)
		return TC_ACT_UNSPEC;
	return replace(skb, segment, connection->rcv_nxt, REPLACED_STALE);
}

static __always_inline int meet_time_wait(struct __sk_buff *skb, const struct segment *segment, struct bpf_sock *socket)
{
	struct tcp_timewait_sock *waiting = bpf_skc_to_tcp_timewait_sock(socket);

	return waiting ? replace(skb, segment, expected_by(waiting), REPLACED_TIME_WAIT) : TC_ACT_UNSPEC;
}

/* A SYN of the client's did get here, before the balancer began to answer them. */
static __always_inline int meet_request(struct __sk_buff *skb, const struct segment *segment, struct bpf_sock *socket)
{
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(socket);

	return request ? replace(skb, segment, BPF_CORE_READ(request, rcv_nxt), REPLACED_REQUEST) : TC_ACT_UNSPEC;
}

/* What becomes of a packet that is in no tunnel, or not any more. Neither inlined nor static, for the verifier's sake. */
__attribute__((noinline)) int take_over(struct __sk_buff *skb)
{
	struct segment segment = {};
	struct bpf_sock *socket;
	int action;

	if (!read_segment(skb, &segment))
		return TC_ACT_UNSPEC;
	socket = look_up(skb, &segment.flow);
	if (!socket)
		return TC_ACT_UNSPEC;
	switch (socket->state) {
	case LISTEN:
		action = meet_listener(skb, &segment, socket);
		break;
	case TIME_WAIT:
		action = meet_time_wait(skb, &segment, socket);
		break;
	case NEW_SYN_RECV:
		action = meet_request(skb, &segment, socket);
		break;
	default:
		action = meet_connection(skb, &segment, socket);
	}
	bpf_sk_release(socket);
	return action;
}

#endif
