/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What becomes of a segment of a pair: looked at, judged, learnt from, and only then written. src/core/splice/translate.rs does the same,
 * and says why. Steps are functions of their own, so that the verifier walks each of them once, and not for each way to get there.
 */
#ifndef XSKIP_SPLICE_TRANSLATE_H
#define XSKIP_SPLICE_TRANSLATE_H

#include "carry.h"
#include "splice_find.h"
#include "splice_sight.h"
#include "too_big.h"

#define TO_NOBODY -2

#define MAX_LINK_LEN (ETHERNET_LEN + sizeof(struct vlan_tag))
#define SPLICE_BEYOND 2
#define SPLICE_QUARTER (1U << 30)
#define SPLICE_MAX_FIELD 65535
/* How old what is written down of a last sign of life may be: a line that is not written stays in every core's cache. */
#define SPLICE_HEARD_NS 50000000ULL
/* ICMP errors in a second and on a CPU. */
#define SPLICE_TOO_BIGS 1000

static __always_inline int precedes(__u32 one, __u32 other)
{
	return (__s32)(one - other) < 0;
}

static __always_inline struct splice_pair *pair_of(__u32 found)
{
	__u32 number = found >> 1;

	return bpf_map_lookup_elem(&splice_pairs, &number);
}

/* Whether a packet goes on as far as its headers say: 0, a verdict, or TO_THE_STACK. */
static __always_inline int check_splice(struct xdp_md *ctx, const struct packet *packet, const struct splice_sight *sight,
					const struct splice_pair *pair, __u32 side)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u8 *header = data + (packet->ip_offset & MAX_IP_OFFSET);
	struct vlan_tag *tag = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = data + (sight->tcp & MAX_TRANSPORT_OFFSET);
	__u32 length = sight->end - sight->tcp, is_tagged = packet->ip_offset > ETHERNET_LEN;
	__u64 pseudo;

	if ((void *)(tag + 1) > data_end || (void *)(header + sizeof(struct iphdr)) > data_end || (void *)(tcp + 1) > data_end)
		return DROPPED_SPLICE_MALFORMED;
	if (is_tagged != pair->is_tagged || (is_tagged && (bpf_ntohs(tag->control) & VLAN_ID) != pair->sides[side].vlan))
		return TO_THE_STACK;
	if (header[packet->is_ipv6 ? 7 : 8] <= 1)
		return DROPPED_SPLICE_HOP_LIMIT;
	if (sight->end - packet->ip_offset > pair->ends[side ^ 1].mtu)
		return DROPPED_SPLICE_TOO_BIG;
	/* One segment in 65,536 looks like that and is finished all the same. */
	pseudo = splice_pseudo(packet, length);
	if ((__u16)~fold(pseudo) == tcp->check && !splice_is_intact(ctx, sight->tcp, length, pseudo + (pseudo >> 32)))
		/* Where such segments are the rule the stack finishes the sum, and translates. */
		return guard.unfinished == REFUSED ? DROPPED_SPLICE_PARTIAL : TO_THE_STACK;
	return 0;
}

static __always_inline int judge_reset(struct xdp_md *ctx, const struct packet *packet, const struct splice_sight *sight,
				       struct splice_said *mine, const struct splice_said *theirs)
{
	__u32 start = sight->number, length = sight->end - sight->tcp;
	__u64 pseudo = splice_pseudo(packet, length);

	if (precedes(start, theirs->acked) || precedes(theirs->edge, start))
		return DROPPED_SPLICE_RESET;
	/* RCV.NXT is one of the two, unless there is a hole in between; then its receiver challenges it. */
	if (start != theirs->acked && start != mine->sent)
		return 0;
	if (!splice_is_intact(ctx, sight->tcp, length, pseudo + (pseudo >> 32)))
		return DROPPED_SPLICE_CHECKSUM;
	if (!mine->is_reset)
		mine->is_reset = 1;
	return 0;
}

/* Whether it is news. */
static __always_inline int learn_number(__u32 *at, __u32 number)
{
	if (!precedes(*at, number))
		return 0;
	*at = number;
	return 1;
}

/* Takes down that a side has spoken. */
static __always_inline void hear_side(struct splice_said *mine)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	if (now - mine->heard > SPLICE_HEARD_NS && (__s64)(now - mine->heard) > 0)
		mine->heard = now;
}

/* Takes down by whom a side's frames come. Only who says something new is believed to be where it came from. */
static __always_inline void follow_side(struct xdp_md *ctx, struct splice_pair *pair, __u32 side)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct splice_end *end = &pair->ends[side];
	__u32 tail = guard.answers_tail;
	const __u32 *words = data;
	__u64 station;

	if (!pair->sides[side].follows || data + sizeof(struct ethhdr) > data_end)
		return;
	station = words[1] >> 16 | (__u64)words[2] << 16;
	/* Behind a director frames go to the router, and not to where one came from. */
	if (tail)
		station = guard.answers_head | (__u64)(tail & 0xffff) << 32;
	if (end->destination != station)
		end->destination = station;
	if (end->ifindex != ctx->ingress_ifindex) {
		/* It was for our end there. */
		end->source = (end->source & 0xffffULL << 48) | words[0] | (__u64)(words[1] & 0xffff) << 32;
		end->ifindex = ctx->ingress_ifindex;
	}
}

/* Whether it says what was not known: of its own stream, or of the other one. */
static __always_inline int learn_segment(struct splice_said *mine, __u32 flags, __u32 end, __u32 ack, __u32 octets, __u32 told)
{
	int is_news = 0;

	if (precedes(mine->sent, end)) {
		mine->carried += end - mine->sent;
		mine->sent = end;
		is_news = 1;
	}
	if (flags & FLAG_FIN) {
		if (mine->fin != end - 1)
			mine->fin = end - 1;
		if (!mine->has_fin)
			mine->has_fin = 1;
	} else if (mine->has_fin && precedes(mine->fin + 1, end)) {
		mine->has_fin = 0; /* there is more, so that was no FIN of this speaker's */
	}
	is_news |= learn_number(&mine->acked, ack);
	learn_number(&mine->edge, ack + told);
	learn_number(&mine->offered, ack + octets);
	if (mine->reach < told)
		mine->reach = told;
	return is_news;
}

/* The window field for the other side. */
static __always_inline __u32 splice_window(__u32 octets, __u32 scale)
{
	__u32 units = octets >> scale;

	if (units > SPLICE_MAX_FIELD)
		return SPLICE_MAX_FIELD;
	return octets && !units ? 1 : units;
}

/* Judges a segment, and learns from one that passes: 0, a verdict, or TO_THE_STACK. */
__attribute__((noinline)) int splice_judge(struct xdp_md *ctx, const struct packet *packet, struct splice_sight *sight, __u32 found)
{
	struct splice_pair *pair = splicing ? pair_of(found) : NULL;
	__u32 side = found & 1, data_len, length, end, ack, octets, told, scale;
	struct splice_said *mine, *theirs;
	struct tcphdr *tcp;
	void *data;
	int verdict;

	if (!pair || !packet || !sight)
		return TO_THE_STACK;
	mine = &pair->said[side];
	theirs = &pair->said[side ^ 1];
	verdict = check_splice(ctx, packet, sight, pair, side);
	if (verdict)
		return verdict;
	data = (void *)(long)ctx->data;
	tcp = data + (sight->tcp & MAX_TRANSPORT_OFFSET);
	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return DROPPED_SPLICE_MALFORMED;
	data_len = sight->end - sight->data;
	length = data_len + !!(packet->flags & FLAG_FIN);
	sight->number = bpf_ntohl(tcp->seq) + pair->sides[side].shift;
	end = sight->number + length;
	ack = bpf_ntohl(tcp->ack_seq);
	octets = (__u32)bpf_ntohs(tcp->window) << (pair->sides[side].peer_scale & 15);
	scale = pair->sides[side ^ 1].our_scale & 15;
	sight->window = splice_window(octets, scale);
	told = sight->window << scale;
	if (told < octets)
		told = octets;
	if (packet->flags & FLAG_RST) {
		verdict = judge_reset(ctx, packet, sight, mine, theirs);
		if (!verdict)
			hear_side(mine);
		return verdict;
	}
	/* A bare one does not come here. */
	if (packet->flags & FLAG_SYN)
		return DROPPED_SPLICE_SYN;
	if (!(packet->flags & FLAG_ACK))
		return DROPPED_SPLICE_NO_ACK;
	if (precedes(end, theirs->acked - theirs->reach) || precedes(theirs->edge + SPLICE_BEYOND, sight->number))
		return DROPPED_SPLICE_SEQUENCE;
	if (precedes(theirs->sent, ack) || precedes(ack, mine->acked - mine->reach))
		return DROPPED_SPLICE_ACK;
	if (!length && precedes(theirs->offered, sight->number))
		sight->number = theirs->offered;
	hear_side(mine);
	if (learn_segment(mine, packet->flags, end, ack, octets, told))
		follow_side(ctx, pair, side);
	return 0;
}

/* What has changed in a sum by a word at this place: at an odd one each octet counts as the other half of a word. */
static __always_inline __u64 placed(__u64 difference, __u32 distance)
{
	return distance & 1 ? difference << 8 : difference;
}

/* What one side echoes, for the other one. */
static __always_inline __u32 splice_echo(struct splice_pair *pair, __u32 side, __u32 echo)
{
	struct splice_said *mine = &pair->said[side];
	__u32 since = echo - pair->sides[side].clock;

	if (!mine->is_past && (__s32)since <= 0)
		return pair->sides[side ^ 1].recent;
	if (!mine->is_past && since >= SPLICE_QUARTER)
		mine->is_past = 1;
	return echo - pair->sides[side ^ 1].clock_shift;
}

/* Writes what counts in another way on the other side, and returns the difference in the checksum. */
static __always_inline __u64 write_splice_numbers(struct xdp_md *ctx, const struct packet *packet, const struct splice_sight *sight,
						  struct splice_pair *pair, __u32 side)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *tcp = data + (sight->tcp & MAX_TRANSPORT_OFFSET);
	__u32 *stamps = data + (sight->stamps & 0xff), back_shift = pair->sides[side ^ 1].shift, *edge, at;
	__u32 has_ack = packet->flags & FLAG_ACK;
	__u64 sum, changed;
	__u16 *window;

	if (tcp + TCP_HEADER > data_end)
		return 0;
	sum = replace(tcp + 4, bpf_htonl(sight->number));
	window = tcp + 14;
	sum += (__u64)(__u16)~*window + bpf_htons(sight->window);
	*window = bpf_htons(sight->window);
	if (has_ack)
		sum += replace(tcp + 8, bpf_htonl(bpf_ntohl(*(__u32 *)(tcp + 8)) - back_shift));
	if (sight->stamps && pair->has_clocks && (void *)(stamps + 2) <= data_end) {
		changed = replace(stamps, bpf_htonl(bpf_ntohl(stamps[0]) + pair->sides[side].clock_shift));
		if (has_ack)
			changed += replace(stamps + 1, bpf_htonl(splice_echo(pair, side, bpf_ntohl(stamps[1]))));
		sum += placed(changed, sight->stamps - sight->tcp);
	}
	if (!sight->blocks)
		return sum;
	changed = 0;
	for (__u32 i = 0; i < 2 * MAX_SACK_BLOCKS; i++) {
		if (i >= 2 * sight->blocks)
			break;
		at = (sight->sack + 4 * i) & 0xff;
		edge = data + at;
		if ((void *)(edge + 1) > data_end)
			break;
		changed += replace(edge, bpf_htonl(bpf_ntohl(*edge) - back_shift));
	}
	return sum + placed(changed, sight->sack - sight->tcp);
}

/* Writes a segment as the other side is to get it; 0 where it cannot be. */
__attribute__((noinline)) int splice_write(struct xdp_md *ctx, const struct packet *packet, const struct splice_sight *sight, __u32 found)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end, *header, *tcp;
	struct splice_pair *pair = splicing ? pair_of(found) : NULL;
	const struct splice_end *to;
	__u64 sum, changed;
	__u16 *hops;

	if (!packet || !sight || !pair)
		return 0;
	to = &pair->ends[(found & 1) ^ 1];
	header = data + (packet->ip_offset & MAX_IP_OFFSET);
	tcp = data + (sight->tcp & MAX_TRANSPORT_OFFSET);
	if (tcp + TCP_HEADER > data_end || header + sizeof(struct ipv6hdr) > data_end || data + MAX_LINK_LEN > data_end)
		return 0;
	sum = write_splice_numbers(ctx, packet, sight, pair, found & 1);
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		sum += replace_ipv6(ip->saddr.s6_addr32, &to->local) + replace_ipv6(ip->daddr.s6_addr32, &to->remote);
		ip->hop_limit--;
	} else {
		struct iphdr *ip = header;

		changed = replace(&ip->saddr, to->local.words[3]) + replace(&ip->daddr, to->remote.words[3]);
		sum += changed;
		hops = (__u16 *)&ip->ttl;
		/* It stands first in its word, so it is the lower octet here. */
		changed += (__u64)(__u16)~*hops + (__u16)(*hops - 1);
		ip->ttl--;
		amend(&ip->check, changed);
	}
	sum += replace(tcp, to->ports);
	amend(tcp + TCP_CHECKSUM, sum);
	((__u32 *)data)[0] = to->destination;
	((__u32 *)data)[1] = (to->destination >> 32 & 0xffff) | (__u32)to->source << 16;
	((__u32 *)data)[2] = to->source >> 16;
	if (packet->ip_offset > ETHERNET_LEN)
		((struct vlan_tag *)(data + ETHERNET_LEN))->control = to->source >> 48;
	return 1;
}

/* Tells the sender of what is too big for the other side's way: the action, or -1 where nobody is told. */
__attribute__((noinline)) int splice_too_big(struct xdp_md *ctx, const struct packet *packet, __u32 mtu)
{
	int action = -1;

	if (splicing && packet)
		refuse_too_big(ctx, packet, SPLICE_TOO_BIGS, mtu, &action);
	return action;
}

/* What becomes of a segment: the action, TO_THE_STACK where it is a flow's that the stack has, or TO_NOBODY where the index knows none. */
__attribute__((noinline)) int splice_segment(struct xdp_md *ctx, const struct packet *packet)
{
	struct splice_sight sight = {};
	const struct balancing *settings;
	struct splice_pair *pair;
	int found, verdict, action = XDP_DROP;
	__u32 ifindex, zero = 0;

	if (!splicing || !packet)
		return TO_NOBODY;
	found = splice_find(packet);
	pair = found < 0 ? NULL : pair_of(found);
	if (!pair)
		return TO_NOBODY;
	/* A balancer's pairs outlive its process no longer than all else. */
	settings = bpf_map_lookup_elem(&balance_settings, &zero);
	if (settings && is_abandoned(settings))
		return TO_NOBODY;
	if (pair->is_claim)
		return TO_THE_STACK;
	ifindex = pair->ends[(found & 1) ^ 1].ifindex;
	/* The stack translates as well, and its frames leave by the socket. */
	if (ifindex == ctx->ingress_ifindex && guard.way_out == NO_WAY)
		return TO_THE_STACK;
	verdict = splice_read(ctx, packet, &sight);
	if (!verdict)
		verdict = splice_judge(ctx, packet, &sight, found);
	if (verdict == TO_THE_STACK)
		return TO_THE_STACK;
	if (verdict == DROPPED_SPLICE_TOO_BIG) {
		action = splice_too_big(ctx, packet, pair->ends[(found & 1) ^ 1].mtu);
		if (action < 0)
			action = XDP_DROP;
		else
			verdict = ANSWERED_SPLICE_TOO_BIG;
	} else if (!verdict) {
		verdict = DROPPED_SPLICE_MALFORMED;
		if (splice_write(ctx, packet, &sight, found)) {
			action = send_to(ctx, ifindex);
			/* Just now there was a way. */
			verdict = action < 0 ? DROPPED_SPLICE_UNDELIVERED : SPLICED;
			action = action < 0 ? XDP_DROP : action;
		}
	}
	count(verdict);
	return action;
}

#endif
