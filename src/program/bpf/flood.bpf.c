/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The flood generator. `generate` runs on live frames: it turns whatever it is given into the next template, stamps it with
 * random numbers, and sends it by XDP_TX. `count_replies`, on the same interface, counts what comes back and ends it there.
 *
 * src/program/bpf/flood.rs mirrors the layouts, and src/program/flood/stamp.rs does the same to a frame in Rust: a test holds them together.
 */
#include "checksum.h"
#include "parse.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FRAME_LEN 2048
#define FRAME_LEN_MASK (FRAME_LEN - 1)
#define MAX_TEMPLATES 64
#define MAX_SOURCES 8
#define MAX_TIMESTAMP_OFFSET 0x7f
#define NANOS_PER_MICRO 1000
#define MICROS_PER_SECOND 1000000
#define LOWEST_PORT 1024
#define PORTS (65536 - LOWEST_PORT)
#define DEADLINE_EVERY 64 /* frames; a power of two */

enum {
	TEMPLATE_IPV6 = 1,
	TEMPLATE_ACK = 2, /* the acknowledgment number is random, too */
};

/* A frame with noughts where random numbers go, and the sums of the rest. */
struct template {
	__u32 length;
	__u32 flags;
	__u32 tcp_offset;       /* 0 where there is no whole TCP header to be stamped */
	__u32 timestamp_offset; /* of the TSval in the frame; 0 where there is none */
	__u32 ip_sum;
	__u32 tcp_sum;
	__u8 frame[FRAME_LEN];
};

/* Random source addresses: the bits of `mask` are random, the others are those of `base`. As in `struct address`. */
struct source {
	__u32 base[4];
	__u32 mask[4];
};

/* Set before loading. */
struct plan {
	__u64 rate;     /* frames a second; 0 for as many as possible */
	__u64 duration; /* nanoseconds */
	__u32 room;     /* bytes of the frames that are given: more than any template has */
	__u32 templates;
	__u32 sources;
	__u32 port; /* the source port; 0 for random ones */
	struct source source[MAX_SOURCES];
};

/* How far it has got. */
struct progress {
	__u64 random; /* the generator's state: at first, the seed */
	__u64 sent;
	__u64 started;
	__u64 over; /* whether time is up; user space ends a flood early by setting it */
};

const volatile struct plan plan;
struct progress progress;

enum reply {
	REPLY_SYN_ACK,
	REPLY_RST,
	REPLY_ACK,
	REPLY_OTHER,
	REPLIES,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TEMPLATES);
	__type(key, __u32);
	__type(value, struct template);
} templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REPLIES);
	__type(key, __u32);
	__type(value, __u64);
} replies SEC(".maps");

/* SplitMix64 (Steele, Lea, Flood 2014), as in src/rng.rs. */
static __always_inline __u64 next_random(void)
{
	__u64 z = progress.random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Whether the next frame is due: an exact rate, made up for where the sender was held up. */
static __always_inline int is_due(void)
{
	__u64 now, micros;

	if (progress.over)
		return 0;
	if (!plan.rate && progress.started && progress.sent % DEADLINE_EVERY)
		return 1;
	now = bpf_ktime_get_ns();
	if (!progress.started)
		progress.started = now;
	if (now - progress.started >= plan.duration) {
		progress.over = 1;
		return 0;
	}
	micros = (now - progress.started) / NANOS_PER_MICRO;
	return !plan.rate || progress.sent < micros * plan.rate / MICROS_PER_SECOND;
}

/* Writes the source address where it belongs, and returns its sum; -1 where the frame is too short. */
static __always_inline __s64 stamp_source(void *ip_header, const void *data_end, const struct template *template,
					  __u64 random)
{
	__u32 index = plan.sources > 1 ? (random >> 48) % plan.sources : 0;
	const volatile struct source *source = &plan.source[index & (MAX_SOURCES - 1)];
	__s64 sum = 0;

	if (template->flags & TEMPLATE_IPV6) {
		struct ipv6hdr *ip = ip_header;
		__u64 high = next_random(), low = next_random();
		__u32 words[4] = { high, high >> 32, low, low >> 32 };

		if ((void *)(ip + 1) > data_end)
			return -1;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			words[i] = source->base[i] | (words[i] & source->mask[i]);
			ip->saddr.in6_u.u6_addr32[i] = words[i];
			sum += words[i];
		}
	} else {
		struct iphdr *ip = ip_header;
		__u32 word = source->base[3] | ((__u32)random & source->mask[3]);

		if ((void *)(ip + 1) > data_end)
			return -1;
		ip->saddr = word;
		ip->check = fold((__u64)template->ip_sum + word);
		sum = word;
	}
	return sum;
}

static __always_inline void stamp(struct xdp_md *ctx, const struct template *template)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + (template->tcp_offset & MAX_TCP_OFFSET);
	__be32 *timestamp = data + (template->timestamp_offset & MAX_TIMESTAMP_OFFSET);
	__u64 first = next_random(), second = next_random();
	__s64 sum = stamp_source(data + sizeof(struct ethhdr), data_end, template, first);
	__u32 port = plan.port ? plan.port : LOWEST_PORT + ((first >> 32 & 0xffff) * PORTS >> 16);

	if (sum < 0 || !template->tcp_offset || (void *)(tcp + 1) > data_end)
		return;
	tcp->source = bpf_htons(port);
	tcp->seq = (__u32)second;
	sum += template->tcp_sum + (__u64)tcp->source + tcp->seq;
	if (template->flags & TEMPLATE_ACK) {
		tcp->ack_seq = (__u32)(second >> 32);
		sum += tcp->ack_seq;
	}
	if (template->timestamp_offset && (void *)(timestamp + 1) <= data_end) {
		*timestamp = (__u32)(first >> 32);
		sum += *timestamp;
	}
	tcp->check = fold(sum);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	const struct template *template;
	__u32 index, length;

	if (!plan.templates || !is_due())
		return XDP_DROP;
	index = progress.sent % plan.templates;
	template = bpf_map_lookup_elem(&templates, &index);
	if (!template)
		return XDP_DROP;
	length = template->length & FRAME_LEN_MASK;
	if (!length || length >= plan.room)
		return XDP_DROP;
	/*
	 * Frames are used again as the last receiver left them: every byte is written anew. And its length, each time: the
	 * kernel notices that we changed it, but not that a receiver did.
	 */
	if (bpf_xdp_adjust_tail(ctx, (int)length - (int)plan.room))
		return XDP_DROP;
	if (bpf_xdp_store_bytes(ctx, 0, (void *)template->frame, length))
		return XDP_DROP;
	stamp(ctx, template);
	progress.sent++;
	return XDP_TX;
}

/* Whether an address is one of those that frames were sent from. */
static __always_inline int is_source(const struct address *address)
{
#pragma unroll
	for (int i = 0; i < MAX_SOURCES; i++) {
		const volatile struct source *source = &plan.source[i];
		__u32 difference = 0;

#pragma unroll
		for (int j = 0; j < 4; j++)
			difference |= (address->words[j] & ~source->mask[j]) ^ source->base[j];
		if (i < (int)plan.sources && !difference)
			return 1;
	}
	return 0;
}

SEC("xdp")
int count_replies(struct xdp_md *ctx)
{
	struct packet packet = {};
	__u32 reply = REPLY_OTHER;
	__u64 *counter;

	if (read_packet(ctx, &packet) != READ_IP || !is_source(&packet.destination))
		return XDP_PASS;
	if (packet.segment == SEGMENT_PLAIN) {
		if (packet.flags & 0x04)
			reply = REPLY_RST;
		else if ((packet.flags & 0x12) == 0x12)
			reply = REPLY_SYN_ACK;
		else if (packet.flags & 0x10)
			reply = REPLY_ACK;
	}
	counter = bpf_map_lookup_elem(&replies, &reply);
	if (counter)
		*counter += 1;
	return XDP_DROP;
}
