/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which cookies count, and the keys that they are made with, as src/core/tcp/cookie.rs has it. The program goes on for months and
 * nobody tells it keys or the time: it derives the former from the master, and reads the kernel's clock.
 *
 * Epochs follow the calendar, which the kernel's helpers do not tell. TAI is the calendar but for a whole number of seconds, which
 * is 0 until an NTP daemon has told the kernel, and 37 s since 2017. That may happen, or be undone, long after the program was
 * attached; so it goes by both: an epoch counts if it counts at TAI, or at TAI less 37 s, or in between. A third key may be good
 * then where the core has two, and a cookie lives for up to 37 s longer, but no daemon's start refuses good handshakes. A leap second
 * is within the skew. The time since boot, with what the calendar was at the start, would do without that, but would stay wrong
 * for ever where a clock is set after the program was attached, as at every boot without a battery. TAI follows at once.
 */
#ifndef XSKIP_EPOCHS_H
#define XSKIP_EPOCHS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "allowed.h"
#include "siphash.h"

#define SECOND 1000000000ULL
#define EPOCH 64  /* in seconds */
#define SKEW 4    /* by which calendars may differ */
#define AHEAD 37  /* by which TAI may be */
#define KEYS 4    /* of a master: no more epochs count at a time */

/* A key that was derived. Each CPU has its own, so that nobody reads what another one is writing. */
struct epoch_key {
	__u64 epoch;
	__u64 is_there;
	struct sip_key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MASTERS * KEYS);
	__type(key, __u32);
	__type(value, struct epoch_key);
} epoch_keys SEC(".maps");

struct epochs {
	__u64 first;
	__u64 last;
};

/* Which epochs count: the present one, the one before, and for the last SKEW of it the next. */
static __always_inline struct epochs counting_epochs(void)
{
	__u64 now = bpf_ktime_get_tai_ns() / SECOND;
	struct epochs epochs = { .first = (now - AHEAD) / EPOCH - 1, .last = (now + SKEW) / EPOCH };

	/* In 1970 there was none before. */
	if (now < AHEAD + EPOCH)
		epochs.first = 0;
	return epochs;
}

/* The 128-bit SipHash of "xskip cookie" and the epoch, in octets: little-endian words, as those of the hash are. */
static __always_inline struct sip_key derive_key(const volatile struct sip_key *master, __u64 epoch)
{
	const __u64 xskip_co = 0x6f632070696b7378ULL, okie = 0x65696b6fULL;
	struct sip_state s;

	sip_begin(&s, master);
	sip_widen(&s);
	sip_absorb(&s, xskip_co, 2);
	sip_absorb(&s, okie | epoch << 32, 2);
	return sip_end_wide(&s, epoch >> 32, 20);
}

/* The key of an epoch; none only where the kernel lost a map. */
static __always_inline const struct sip_key *key_of(__u32 master, __u64 epoch)
{
	__u32 place = master * KEYS + epoch % KEYS;
	struct epoch_key *kept = bpf_map_lookup_elem(&epoch_keys, &place);

	if (!kept || master >= MASTERS)
		return 0;
	if (!kept->is_there || kept->epoch != epoch) {
		kept->key = derive_key(&settings.masters[master].key, epoch);
		kept->epoch = epoch;
		kept->is_there = 1;
	}
	return &kept->key;
}

#endif
