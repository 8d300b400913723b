/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a balancer that answers SYNs and the backends that take the handshakes over must agree on. */
#ifndef XSKIP_HANDOVER_H
#define XSKIP_HANDOVER_H

/* The scale of the window that such a SYN-ACK announces, where the client scales its own: no cookie holds it. */
#define HANDOVER_WINDOW_SCALE 7

#endif
