/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What becomes of a packet for a load balancer's service, and why: counted one by one. */
#ifndef XSKIP_OUTCOMES_H
#define XSKIP_OUTCOMES_H

#include "maps.h"

/* In the order of `Why` and `Refusal` in src/core/lb/decide.rs, and then of `Obstacle` in src/core/lb/forward.rs. */
enum outcome {
	/* It goes to a backend. */
	WHY_SETTLED,
	WHY_BEFORE,
	WHY_NOW,
	WHY_REMEMBERED,
	WHY_SECOND_CHOICE,
	WHY_SPARE,
	WHY_OPEN,
	WHY_NO_ROOM,
	WHY_COOKIE,
	/* It goes nowhere. */
	REFUSED_NO_SERVICE,
	REFUSED_FRAGMENT,
	REFUSED_NO_BACKEND,
	REFUSED_ALL_DOWN,
	REFUSED_EXCEPTIONS_FULL,
	REFUSED_NO_PORT,  /* a flow that is to be rewritten finds no port, */
	REFUSED_NAT_FULL, /* or no place in the table */
	REFUSED_UNKNOWN,  /* of no flow that is rewritten, and opens none */
	REFUSED_SYN,      /* it would be answered for backends, and breaks a rule, or no cookie holds it, or nobody can have sent it */
	/* It would go to a backend, but cannot. */
	HINDERED_MALFORMED,   /* its header is cut off, or its length more than there is of it */
	HINDERED_HOP_LIMIT,   /* it has come too far */
	HINDERED_NO_WAY,      /* nobody knows where the backend is, or its interface is down */
	HINDERED_TOO_BIG,     /* for the way, and may not be told, or was told enough */
	HINDERED_HEADROOM,    /* the driver leaves no room for an outer header */
	HINDERED_UNDELIVERED, /* what is sent from here would not arrive */
	/* Its sender is told to send smaller ones. */
	TOLD_TOO_BIG,
	/* The stack resets it: its backend is down, and its flows are not kept. */
	HANDED_RESET,
	/* Likewise: it is of no flow that is rewritten, and would be in the midst of one. */
	HANDED_UNKNOWN,
	/* A backend's, and its client gets it. */
	SENT_ANSWER,
	/* A SYN, answered in backends' names. */
	SENT_COOKIE,
	OUTCOMES,
};

_Static_assert(OUTCOMES == 29, "src/xdp/balance/counters.rs has as many, in this order");

/* In `verdicts`, where a packet has one or the other. */
#define FIRST_OUTCOME 32
_Static_assert(VERDICTS <= FIRST_OUTCOME && FIRST_OUTCOME + OUTCOMES <= MAX_COUNTERS, "there is room for both");

#endif
