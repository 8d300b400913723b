/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose a packet is, and what becomes of it: the one table that says so, by address, port and protocol.
 *
 * A hash table with open addressing, in an array: a flood asks for a listener millions of times a second, and as there are many
 * more slots than services the first slot is nearly always the right one, or empty. User space writes it at any time
 * (src/xdp/services/table.rs), without a system call. A slot that changes under a reader is one of a service that is just being
 * served or forgotten, so what the reader takes it for holds a moment earlier or later.
 */
#ifndef XSKIP_SERVICE_H
#define XSKIP_SERVICE_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "address.h"
#include "parse.h"

#define SERVICE_SLOT_BITS 17
#define SERVICE_SLOTS (1 << SERVICE_SLOT_BITS)
/* How far from where its hash points a service may be; there is hardly ever one that far. */
#define MAX_PROBES 64
/* One for each half of an address, and one for port and protocol. */
#define SERVICE_KEYS 3
/* The protocol of entries that are no services: nobody sends from their address. No packet has it (IANA: reserved). */
#define FROM_ADDRESS 255

/* What becomes of a packet. In this order: the stack's from TO_STACK on, and somebody listens from TO_LISTENER on. */
enum action {
	SLOT_EMPTY,     /* and nothing that a search has to go on to lies behind it */
	SLOT_FORGOTTEN, /* free again, but a search goes on */
	NO_SOURCE,      /* of a FROM_ADDRESS entry */
	TO_KERNEL,      /* an exception at an address of the stack's own */
	TO_STACK,
	TO_BALANCE,     /* backends serve it; the stack gets what it is to reset */
	TO_TRANSLATE,   /* likewise, in mode nat */
	TO_CLIENTS,     /* of an address that packets to backends come from: the stack gets what answers nobody */
	TO_LISTENER,    /* the stack's, and SYNs are counted */
	TO_GUARDED,     /* likewise, and SYNs are answered here */
};

/* Of a service that backends serve: whether its SYNs are answered here, and what the answers promise. */
#define HANDS_OVER 0x01
#define PROMISES_TIMESTAMPS 0x02
#define PROMISES_SACK 0x04
#define PROMISES_SCALE 0x08

/* A service, and what the SYN-ACKs of a listener, or for backends, say. */
struct service {
	struct address address;
	__be16 port; /* 0, like the protocol, for everything to the address */
	__u8 protocol;
	__u8 verdict; /* what its frames count as where they are the stack's: REDIRECTED_OWN or REDIRECTED_SHARED */
	enum action action;
	__u16 mss;
	__u16 window;
	__u8 window_scale;
	__u8 hop_limit;
	__u8 sack;
	__u8 traffic_class;
	__u32 number; /* the listener's index in `syns`, the service's in `balanced`, or the source's in `nat_settings` */
	__u8 rest;    /* of an address: for which protocols backends serve the ports that nobody else does */
	__u8 portless; /* of a port 0: it is for later fragments only */
	__u8 promises; /* of a service that backends serve: those above */
	__u8 padding;
};

const volatile __u64 service_keys[SERVICE_KEYS] = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICE_SLOTS);
	__type(key, __u32);
	__type(value, struct service);
} services SEC(".maps");

/* SYNs seen, by the number of their listener. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, __u64);
} syns SEC(".maps");

/* Multiply-shift hashing (Dietzfelbinger et al. 1997) with odd keys: it is the upper bits that are universal. */
static __always_inline __u32 first_slot(const struct address *address, __be16 port, __u8 protocol)
{
	__u64 hash = service_keys[0] * address->halves[0] + service_keys[1] * address->halves[1];

	hash += service_keys[2] * (port | (__u32)protocol << 16);
	return hash >> (64 - SERVICE_SLOT_BITS);
}

static __always_inline int is_slot_of(const struct service *slot, const struct address *address, __be16 port, __u8 protocol)
{
	return slot->address.halves[0] == address->halves[0] && slot->address.halves[1] == address->halves[1] &&
	       slot->port == port && slot->protocol == protocol && slot->action != SLOT_FORGOTTEN;
}

/*
 * The number of the slot behind `first` that says what becomes of a port at an address; -1 where none does. A function of its own and
 * not inlined, so that the verifier walks the loop once, and not once for each way to it.
 */
__attribute__((noinline)) int find_behind(__u32 first, const struct address *address, __be16 port, __u8 protocol)
{
	if (!address)
		return -1;
	for (int i = 1; i < MAX_PROBES; i++) {
		__u32 index = (first + i) & (SERVICE_SLOTS - 1);
		const struct service *slot = bpf_map_lookup_elem(&services, &index);

		if (!slot || slot->action == SLOT_EMPTY)
			return -1;
		if (is_slot_of(slot, address, port, protocol))
			return index;
	}
	return -1;
}

/* What is said of a port at an address. */
static __always_inline const struct service *find_slot(const struct address *address, __be16 port, __u8 protocol)
{
	__u32 index = first_slot(address, port, protocol);
	const struct service *slot = bpf_map_lookup_elem(&services, &index);

	if (!slot || slot->action == SLOT_EMPTY)
		return NULL;
	if (is_slot_of(slot, address, port, protocol))
		return slot;
	/* Of -1 there is no slot. */
	index = find_behind(index, address, port, protocol);
	return bpf_map_lookup_elem(&services, &index);
}

#define REST_TCP 1
#define REST_UDP 2

/* Whom packets of a protocol are for that are for no other port of an address, or show none. */
static __always_inline const struct service *find_rest(const struct service *address, const struct packet *packet)
{
	const struct service *rest;
	__u8 protocols = address->rest;

	if (!protocols || !(protocols & (packet->protocol == IPPROTO_TCP ? REST_TCP : packet->protocol == IPPROTO_UDP ? REST_UDP : 0)))
		return address;
	rest = find_slot(&packet->destination, 0, packet->protocol);
	return rest && !(rest->portless && packet->port) ? rest : address;
}

/* What is said of the port that a packet is for; where nothing is, or it has none, of its whole address. */
static __always_inline const struct service *find_service(const struct packet *packet)
{
	const struct service *service = NULL;

	if (packet->port)
		service = find_slot(&packet->destination, packet->port, packet->protocol);
	if (service)
		return service;
	service = find_slot(&packet->destination, 0, 0);
	return service ? find_rest(service, packet) : NULL;
}

static __always_inline int is_listener(const struct service *service)
{
	return service && service->action >= TO_LISTENER;
}

static __always_inline void count_syn(const struct service *listener)
{
	__u64 *seen = bpf_map_lookup_elem(&syns, &listener->number);

	if (seen)
		*seen += 1;
}

#endif
