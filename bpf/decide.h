/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which backend a packet goes to: src/core/lb/decide.rs, step by step. */
#ifndef XSKIP_DECIDE_H
#define XSKIP_DECIDE_H

#include "outcomes.h"
#include "parse.h"
#include "rows.h"

#define TICK_SHIFT 30
/* By how much the first segment of a flow may lie beyond its SYN, and half of what a FIN may be away from those behind it. */
#define ANNOUNCED (1U << 17)

enum kind {
	KIND_SYN,
	KIND_SEGMENT,
	KIND_FIN,
	KIND_RST,
	KIND_DATAGRAM,
	KIND_FRAGMENT,
	KIND_ERROR,
};

/* A packet's flow, and where the tables have it. There is little room on the stack. */
struct flow {
	__u64 hash;
	const struct backend *backend; /* the target; NULL where the packet goes nowhere */
	struct row row;                /* as it was found; of a settled one where it leads to, and no more */
	__u32 table;                   /* whose row it is, */
	__u32 place;                   /* and which one */
	__u32 service;
	__u32 sequence; /* in host order, where it has one */
	__u16 tick;     /* now; read only where it matters */
	__u16 home;     /* where it goes if it is not remembered */
	__u16 target;
	__u8 flags; /* of the service */
	__u8 kind;  /* an enum kind, */
	__u8 why;   /* and an enum outcome */
	__u8 is_handshake; /* whether a segment counts as the SYN before it, which was answered here */
};

static __always_inline __u16 current_tick(void)
{
	return bpf_ktime_get_boot_ns() >> TICK_SHIFT;
}

static __always_inline int is_beyond(__u16 now, __u16 earlier, __u16 span)
{
	return (__s16)(now - earlier) > (__s16)span;
}

static __always_inline int is_within(__u32 sequence, __u32 start, __u32 length)
{
	return sequence - start < length;
}

/* The SipHash-1-3 of the VIP, the client's address, the VIP's port, the client's, and the protocol, as they are on the wire. */
static __always_inline __u64 hash_flow(const volatile struct sip_key *key, const __u32 *vip, const __u32 *client, int is_ipv6,
				       __be16 vip_port, __be16 client_port, __u8 protocol)
{
	__u64 rest = vip_port | (__u64)client_port << 16 | (__u64)protocol << 32;
	struct sip_state state;

	sip_begin(&state, key);
	if (!is_ipv6) {
		sip_absorb(&state, vip[0] | (__u64)client[0] << 32, 1);
		return sip_end(&state, rest, 13, 1, 3);
	}
	sip_absorb(&state, vip[0] | (__u64)vip[1] << 32, 1);
	sip_absorb(&state, vip[2] | (__u64)vip[3] << 32, 1);
	sip_absorb(&state, client[0] | (__u64)client[1] << 32, 1);
	sip_absorb(&state, client[2] | (__u64)client[3] << 32, 1);
	return sip_end(&state, rest, 37, 1, 3);
}

/* One of so many, by 32 bits of a hash. */
static __always_inline __u32 part(__u32 half, __u32 count)
{
	return (__u64)half * count >> 32;
}

static __always_inline int is_asking(const struct entry *entry, __u16 tick, const struct balancing *windows)
{
	return !(entry->owner & ENTRY_CONFIRMED) && !is_beyond(tick, entry->asked, windows->handshake);
}

static __always_inline int is_over(const struct entry *entry, __u16 tick, const struct balancing *windows)
{
	if (is_asking(entry, tick, windows))
		return 0;
	if (!(entry->owner & ENTRY_CONFIRMED))
		return entry->before ? is_beyond(tick, entry->heard, windows->silence) : 1;
	return is_beyond(tick, entry->heard, entry->owner & ENTRY_ENDED ? windows->closing : windows->silence);
}

/* What is remembered of a flow. */
static __always_inline struct entry *find_entry(const struct flow *flow, const struct balancing *windows)
{
	struct entry *entry;

	if (!(flow->row.second & ROW_WATCHED))
		return NULL;
	entry = bpf_map_lookup_elem(&entries, &flow->hash);
	if (!entry || entry->owner >> ENTRY_FLAGS != flow->service || is_over(entry, flow->tick, windows))
		return NULL;
	return entry;
}

static __always_inline struct row *row_of(const struct flow *flow)
{
	void *rows = bpf_map_lookup_elem(&tables, &flow->table);

	return rows ? bpf_map_lookup_elem(rows, &flow->place) : NULL;
}

/* Finds the row of a flow among a service's: 0 where there is none. */
static __always_inline int find_row(struct flow *flow, const struct balanced *its)
{
	const struct row *row;
	const __u64 *leads;
	__u32 word;
	__u16 lead;
	void *rows;

	flow->table = its->table;
	flow->place = part(flow->hash >> 32, its->rows);
	word = its->rows + flow->place / ROWS_A_WORD;
	rows = bpf_map_lookup_elem(&tables, &flow->table);
	if (!rows)
		return 0;
	leads = bpf_map_lookup_elem(rows, &word);
	if (!leads)
		return 0;
	lead = *leads >> flow->place % ROWS_A_WORD * 16;
	flow->row.now = lead;
	if (!(lead & ROW_UNSETTLED))
		return 1;
	row = bpf_map_lookup_elem(rows, &flow->place);
	if (!row)
		return 0;
	flow->row = *row;
	return 1;
}

/* An older flow of the row has spoken. Once a tick is enough. */
static __always_inline void hear(const struct flow *flow)
{
	struct row *row;

	if (flow->home == flow->row.now || flow->row.heard == flow->tick)
		return;
	row = row_of(flow);
	if (row)
		row->heard = flow->tick;
}

/* Where new flows of a row go while where it leads to is down. */
static __always_inline __u16 second_choice(const struct flow *flow)
{
	const struct row *row = row_of(flow);

	return row ? row->second & ROW_SECOND : 0;
}

/* What is remembered of a flow that has just spoken. */
static __always_inline void refresh(struct entry *entry, const struct flow *flow)
{
	if (flow->kind != KIND_ERROR && entry->heard != flow->tick)
		entry->heard = flow->tick;
}

static __always_inline int has_sequence(enum kind kind)
{
	return kind <= KIND_RST;
}

/* Takes down that a segment of a flow has come. */
static __always_inline void learn(struct entry *entry, const struct flow *flow)
{
	__u32 owner = entry->owner | ENTRY_CONFIRMED, isn = entry->isn;

	if (flow->kind == KIND_ERROR)
		return; /* anybody may have sent it */
	if (flow->kind == KIND_FIN || flow->kind == KIND_RST) {
		owner |= ENTRY_ENDED;
		isn = flow->sequence;
	} else if (flow->kind == KIND_SEGMENT && !is_within(flow->sequence, isn - ANNOUNCED, 2 * ANNOUNCED)) {
		owner &= ~ENTRY_ENDED; /* it was forged */
	}
	if (owner != entry->owner || isn != entry->isn) {
		entry->isn = isn;
		entry->before = 0;
		entry->owner = owner;
	}
	refresh(entry, flow);
}

/* Where a new flow goes; the target is 0 where it goes nowhere. */
static __always_inline void choose(struct flow *flow)
{
	const struct backend *counter, *spare;
	__u16 second;

	flow->backend = backend_of(flow->service, flow->row.now);
	if (is_like(flow->backend, TAKES_NEW, 0)) {
		flow->target = flow->row.now;
		flow->why = flow->home == flow->target ? WHY_SETTLED : WHY_NOW;
		return;
	}
	second = second_choice(flow);
	flow->backend = backend_of(flow->service, second);
	if (is_like(flow->backend, TAKES_NEW, 0)) {
		flow->target = second;
		flow->why = WHY_SECOND_CHOICE;
		return;
	}
	counter = backend_of(flow->service, 0);
	if (counter && counter->spare) {
		spare = backend_of(flow->service, 1 + part(flow->hash, counter->spare));
		flow->target = spare ? spare->spare : 0;
		flow->backend = backend_of(flow->service, flow->target);
		flow->why = WHY_SPARE;
		return;
	}
	flow->target = flow->flags & OPEN ? flow->row.now : 0;
	flow->backend = backend_of(flow->service, flow->target);
	if (!flow->row.now)
		flow->why = REFUSED_NO_BACKEND;
	else
		flow->why = flow->flags & OPEN ? WHY_OPEN : REFUSED_ALL_DOWN;
}

/* A packet of a service where nothing tells new flows from old ones: rows change at once, unless the flow was pinned. */
static __always_inline void decide_any(struct flow *flow, const struct balancing *windows)
{
	struct entry *entry = find_entry(flow, windows);

	flow->backend = entry ? backend_of(flow->service, entry->backend) : NULL;
	if (entry && is_like(flow->backend, IS_LIVE, 0)) {
		flow->target = entry->backend;
		flow->why = WHY_REMEMBERED;
		refresh(entry, flow);
		return;
	}
	choose(flow);
	if (flow->why == WHY_NOW)
		flow->why = WHY_SETTLED; /* there is no older generation here, so no new one either */
}

/* A segment that begins no flow, or an ICMP error. */
static __always_inline void decide_segment(struct flow *flow, const struct balancing *windows)
{
	struct entry *entry = find_entry(flow, windows);
	int is_announced = 0, is_its = 0;

	flow->why = WHY_REMEMBERED;
	if (entry)
		is_announced = entry->owner & ENTRY_CONFIRMED ||
			       (is_asking(entry, flow->tick, windows) && has_sequence(flow->kind) &&
				is_within(flow->sequence, entry->isn + 1, ANNOUNCED));
	if (entry && is_announced && is_like(backend_of(flow->service, entry->backend), IS_LIVE, 0)) {
		flow->target = entry->backend;
		is_its = 1;
	} else if (entry && !(entry->owner & ENTRY_CONFIRMED) &&
		   is_like(backend_of(flow->service, entry->before), IS_LIVE, 0)) {
		flow->target = entry->before;
	} else {
		flow->target = flow->home;
		flow->why = flow->home == flow->row.now ? WHY_SETTLED : WHY_BEFORE;
		entry = NULL;
	}
	flow->backend = backend_of(flow->service, flow->target);
	if (!is_like(flow->backend, IS_LIVE, 0)) {
		flow->target = 0;
		flow->why = REFUSED_NO_BACKEND;
	} else if (flow->backend->flags & RESETS && (flow->kind == KIND_SEGMENT || flow->kind == KIND_FIN)) {
		flow->why = HANDED_RESET;
	} else if (is_its) {
		learn(entry, flow);
	} else if (entry) {
		refresh(entry, flow);
	} else if (flow->kind != KIND_ERROR) {
		hear(flow);
	}
}

/* A new flow that cannot be remembered goes to the row's home, where it need not be. */
static __always_inline void decide_without_room(struct flow *flow)
{
	flow->target = flow->home;
	flow->backend = backend_of(flow->service, flow->home);
	flow->why = WHY_NO_ROOM;
	if (is_like(flow->backend, IS_LIVE, IS_DOWN)) {
		hear(flow);
		return;
	}
	flow->target = 0;
	flow->why = REFUSED_EXCEPTIONS_FULL;
}

/*
 * A SYN: a flow begins, or seems to. Or what ends a handshake, by a cookie that only who has heard us can know: then it has begun, and
 * whatever was there before is over.
 */
static __always_inline void decide_syn(struct flow *flow, const struct balancing *windows)
{
	struct entry *entry = find_entry(flow, windows), fresh = {};
	__u16 established = 0;

	if (entry) {
		int is_confirmed = entry->owner & ENTRY_CONFIRMED;
		int is_repeated = entry->isn == flow->sequence && (is_confirmed || is_asking(entry, flow->tick, windows));

		flow->backend = backend_of(flow->service, entry->backend);
		if ((is_repeated || entry->owner & ENTRY_PINNED) && is_like(flow->backend, IS_LIVE, is_confirmed ? 0 : IS_DOWN)) {
			flow->target = entry->backend;
			flow->why = WHY_REMEMBERED;
			if (!is_confirmed)
				entry->asked = flow->tick;
			if (flow->is_handshake) {
				entry->before = 0;
				entry->owner |= ENTRY_CONFIRMED;
			}
			refresh(entry, flow);
			return;
		}
		established = is_confirmed ? entry->backend : entry->before;
	}
	choose(flow);
	if (!flow->target)
		return;
	if (!entry && flow->home == flow->target) {
		hear(flow);
		return;
	}
	if (!is_like(backend_of(flow->service, established), IS_LIVE, 0))
		established = 0;
	if (flow->is_handshake)
		established = flow->target;
	fresh.backend = flow->target;
	fresh.before = established == flow->target ? 0 : established;
	fresh.isn = flow->sequence;
	fresh.heard = fresh.asked = current_tick(); /* that of `flow` is for rows that are watched */
	fresh.owner = flow->service << ENTRY_FLAGS | (established == flow->target ? ENTRY_CONFIRMED : 0);
	if (bpf_map_update_elem(&entries, &flow->hash, &fresh, BPF_ANY))
		decide_without_room(flow);
}

/* Decides; the target is 0 where the packet goes nowhere. */
static __always_inline void decide(struct flow *flow, const struct balancing *windows)
{
	if (flow->row.before || flow->row.second & ROW_WATCHED)
		flow->tick = current_tick();
	flow->home = flow->row.now;
	if (flow->row.before && !is_beyond(flow->tick, flow->row.heard, windows->silence))
		flow->home = flow->row.before;
	if (flow->flags & AT_ONCE)
		decide_any(flow, windows);
	else if (flow->kind == KIND_SYN || flow->is_handshake)
		decide_syn(flow, windows);
	else
		decide_segment(flow, windows);
}

#endif
