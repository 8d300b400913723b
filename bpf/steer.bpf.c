/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Steers a NIC queue's traffic: what is addressed to the stack goes to the queue's AF_XDP socket, everything else to the
 * kernel, untouched; segments of pairs of connections are translated here. While a listener is guarded, SYNs for it are answered here,
 * and segments of no known flow end here.
 */
#include "answer.h"
#include "balance.h"
#include "budget.h"
#include "ends.h"
#include "orphan.h"
#include "service.h"
#include "splice_translate.h"
#include "strangers.h"
#include "translate.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/*
 * A later fragment to an address that the kernel keeps. Put together there, a segment for a port of ours would be reset, and our
 * connection with it. The stack refuses all fragments, so it gets them: the first one by its port, and the others by what they have
 * in common with one of late. One that overtakes its first fragment passes, and the kernel can do nothing with it alone.
 */
static __always_inline enum verdict follow_first_fragment(const struct packet *packet)
{
	struct fragmented whole = { .id = packet->fragment_id };
	const enum verdict *first;

	__builtin_memcpy(whole.addresses, packet->addresses, sizeof(whole.addresses));
	first = bpf_map_lookup_elem(&fragmented, &whole);
	return first ? *first : PASSED_FOREIGN;
}

static __always_inline void remember_first_fragment(const struct packet *packet, enum verdict verdict)
{
	struct fragmented whole = { .id = packet->fragment_id };

	__builtin_memcpy(whole.addresses, packet->addresses, sizeof(whole.addresses));
	bpf_map_update_elem(&fragmented, &whole, &verdict, BPF_ANY);
}

/* Whom a frame is for, where the table says `service` of it: REDIRECTED_... where it is the stack's. */
static __always_inline enum verdict classify(enum reading reading, const struct packet *packet, const struct service *service)
{
	if (reading == READ_MALFORMED)
		return PASSED_MALFORMED;
	if (reading == READ_OTHER_VLAN)
		return PASSED_VLAN;
	if (reading == READ_FOREIGN)
		return PASSED_FOREIGN;
	if (reading == READ_NEIGHBOUR && find_slot(&packet->target, 0, 0))
		return REDIRECTED_NEIGHBOUR;
	if (!service)
		return packet->fragment == FRAGMENT_LATER ? follow_first_fragment(packet) : PASSED_FOREIGN;
	if (service->action < TO_STACK)
		return PASSED_FOREIGN;
	if (reading == READ_ARP)
		return REDIRECTED_ARP;
	if (packet->fragment == FRAGMENT_FIRST)
		remember_first_fragment(packet, service->verdict);
	return service->verdict;
}

static __always_inline int is_syn(const struct packet *packet)
{
	return (packet->flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) == FLAG_SYN;
}

/*
 * What becomes of a SYN for a guarded listener; where it is answered, `action` is set to the answer's. NO_VERDICT where it may be
 * the stack's after all: because the flow is known, as a connection or in TIME-WAIT, or because an answer from here would be lost.
 */
static __always_inline enum verdict handle_syn(struct xdp_md *ctx, const struct packet *packet, const struct service *listener,
					       int *action)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	/* SYNs of known flows use the budget up as well, or what is left of it would tell who is connected. */
	int within_budget = !guard.prefix_budget || consume_budget(prefix_of(packet), guard.prefix_budget, guard.tick);
	__u64 hash = fingerprint(packet);

	if (is_known(hash))
		return NO_VERDICT;
	if (packet->segment != SEGMENT_PLAIN || (void *)(ethernet + 1) > data_end || !has_possible_ends(packet, ethernet))
		return DROPPED_SYN;
	if (!within_budget && !is_repeated(hash, packet->sequence))
		return DROPPED_BUDGET;
	if (guard.way_out == NO_WAY)
		return NO_VERDICT;
	*action = answer_syn(ctx, packet, listener);
	return *action < 0 ? DROPPED_SYN : ANSWERED_SYN;
}

/* What becomes of anything else that is ours while a listener is guarded. */
static __always_inline enum verdict filter_segment(struct xdp_md *ctx, const struct packet *packet,
						   const struct service *service, enum verdict ours)
{
	enum verdict verdict;
	int within_budget = 1;
	__u64 hash;

	/* UDP is the stack's even where nobody listens: it says so, at a rate of its own. */
	if (packet->segment == SEGMENT_NONE) {
		if (packet->is_icmp || ours == REDIRECTED_ARP || (packet->protocol == IPPROTO_UDP && !packet->fragment))
			return ours;
		return DROPPED_STRAY;
	}
	if (packet->segment == SEGMENT_PARTIAL)
		return DROPPED_PARTIAL;
	if (is_listener(service) && service->action != TO_GUARDED)
		return ours;
	/* As with a listener's SYNs, those of known flows use it up as well. */
	if (packet->flags & FLAG_RST)
		within_budget = consume_budget(UNKNOWN_RESETS, guard.closed_budget, guard.tick);
	else if (is_syn(packet) && !is_listener(service))
		within_budget = consume_budget(CLOSED_PORTS, guard.closed_budget, guard.tick);
	hash = fingerprint(packet);
	if (is_known(hash))
		return ours;
	if (is_syn(packet))
		return within_budget ? ours : DROPPED_CLOSED;
	verdict = filter_unknown_flow(ctx, packet, hash, within_budget, ours);
	return guard.armed == LEARNING ? ours : verdict;
}

/* What becomes of a SYN that is answered in backends' names: the action. */
static __always_inline int answer_for_backends(struct xdp_md *ctx, const struct packet *packet, const struct service *service)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	int action = -1;

	if (packet->segment == SEGMENT_PLAIN && (void *)(ethernet + 1) <= data_end && has_possible_ends(packet, ethernet))
		action = answer_syn(ctx, packet, service);
	count(FIRST_OUTCOME + (action < 0 ? REFUSED_SYN : SENT_COOKIE));
	if (action < 0)
		return XDP_DROP;
	count_flow(packet->tally);
	return action;
}

/* What becomes of a packet that backends get as it is: the action, or TO_THE_STACK. */
static __always_inline int to_backends(struct xdp_md *ctx, struct packet *packet, const struct service *service)
{
	int action = balance(ctx, packet, service);

	if (action == TO_VERIFY) {
		packet->handshake = ends_handshake(ctx, packet) ? HANDSHAKE_ENDS : HANDSHAKE_OTHER;
		action = balance(ctx, packet, service);
	}
	return action == TO_ANSWER ? answer_for_backends(ctx, packet, service) : action;
}

static __always_inline int to_stack(struct xdp_md *ctx, const struct packet *packet, enum verdict verdict)
{
	int action = bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);

	if (action != XDP_REDIRECT)
		return without_socket(ctx, packet, verdict);
	count(verdict);
	return action;
}

/*
 * Whether a segment may be a pair's: one for the stack, whole enough to be looked at. A bare SYN is the stack's affair, which challenges it
 * (RFC 5961 section 4.2), or forgets a pair that has ended.
 */
static __always_inline int may_be_a_pairs(const struct packet *packet, const struct service *service)
{
	return splicing && service && packet->segment >= SEGMENT_PLAIN && !is_syn(packet) &&
	       (service->action == TO_STACK || is_listener(service));
}

/*
 * Whether a segment may be for us although its destination is no address of ours: backends answer the clients in whose names they were
 * asked. Where that is a service of ours after all, it was looked for already.
 */
static __always_inline int may_be_a_clients(const struct packet *packet, const struct service *service)
{
	return splicing && !service && packet->segment >= SEGMENT_PLAIN && !is_syn(packet) && has_claims();
}

/* Whether it is a balancer's that has died, and whose tables may not be used any longer. */
static __always_inline int is_left_alone(const struct service *service)
{
	const struct balancing *settings;
	__u32 zero = 0;

	if (!service || service->action < TO_BALANCE || service->action > TO_CLIENTS)
		return 0;
	settings = bpf_map_lookup_elem(&balance_settings, &zero);
	return settings && is_abandoned(settings);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const struct service *service = NULL;
	struct packet packet = {};
	enum reading reading = read_packet(ctx, &packet);
	enum verdict verdict;
	int action = XDP_DROP;

	if (reading >= READ_ARP)
		service = find_service(&packet);
	if (is_left_alone(service)) {
		count(PASSED_FOREIGN);
		return XDP_PASS;
	}
	if (service && service->action >= TO_BALANCE && service->action <= TO_TRANSLATE) {
		action = service->action == TO_BALANCE ? to_backends(ctx, &packet, service) : translate(ctx, &packet, service);
		if (action != TO_THE_STACK)
			return action;
		/* Counted already, as what is to be reset. */
		return bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
	}
	if (service && service->action == TO_CLIENTS) {
		action = translate_answer(ctx, &packet, service);
		if (action != TO_THE_STACK)
			return action;
		action = XDP_DROP;
	}
	/* A SYN for a listener comes first: of these there may be millions. */
	if (is_syn(&packet) && is_listener(service)) {
		count_syn(service);
		verdict = service->action == TO_GUARDED ? handle_syn(ctx, &packet, service, &action) : NO_VERDICT;
		if (verdict != NO_VERDICT) {
			count(verdict);
			return action < 0 ? XDP_DROP : action;
		}
	}
	/* No pair's are those SYNs that were answered: of these there may be millions. */
	if (may_be_a_pairs(&packet, service) || may_be_a_clients(&packet, service)) {
		action = splice_segment(ctx, &packet);
		if (action >= 0)
			return action;
		if (action == TO_THE_STACK && !service)
			return to_stack(ctx, &packet, REDIRECTED_SHARED);
		action = XDP_DROP;
	}
	verdict = classify(reading, &packet, service);
	if (verdict <= PASSED_VLAN) {
		count(verdict);
		return XDP_PASS;
	}
	if (guard.armed != DISARMED) {
		verdict = filter_segment(ctx, &packet, service, verdict);
		if (verdict > ANSWERED_SYN) {
			count(verdict);
			return XDP_DROP;
		}
	}
	return to_stack(ctx, &packet, verdict);
}
