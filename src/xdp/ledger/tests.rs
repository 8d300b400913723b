//! Accounts of frames that are moved at random, without a ring or a kernel.

use super::Ledger;
use crate::xdp::cases::cases;
use proptest::prelude::*;

/// Where each frame is, as a queue would have it.
struct Model {
    ledger: Ledger,
    more_chunks: u32,
    pool: u32,
    fill: u32,
    /// Received, to be given back or sent as they are.
    received: u32,
    /// Allocated, to be given back or sent in up to `1 + more_chunks` chunks.
    allocated: u32,
    staged: u32,
    ring: u32,
}

impl Model {
    fn new(total: u32, ring_size: u32, more_chunks: u32) -> Self {
        let ledger = Ledger::new(total, ring_size, more_chunks);
        Self { ledger, more_chunks, pool: total, fill: 0, received: 0, allocated: 0, staged: 0, ring: 0 }
    }

    /// Does one of the things that a queue does; `amount` says how much of it.
    fn step(&mut self, what: u8, amount: u32) {
        let several = self.more_chunks > 0;
        match what {
            0 => {
                let frames = self.ledger.wanted_in_fill().min(amount);
                self.ledger.filled(frames);
                (self.pool, self.fill) = (self.pool - frames, self.fill + frames);
            }
            1 => {
                let chunks = self.fill.min(amount);
                // Every third chunk ends a packet.
                let packets = if several { chunks / 3 } else { chunks };
                self.ledger.received(chunks, packets);
                self.fill -= chunks;
                (self.received, self.pool) = (self.received + packets, self.pool + chunks - packets);
            }
            2 if self.received > 0 => {
                self.ledger.released(false);
                (self.received, self.pool) = (self.received - 1, self.pool + 1);
            }
            3 if self.ledger.allocate() => {
                (self.pool, self.allocated) = (self.pool - 1, self.allocated + 1);
            }
            4 if self.allocated > 0 => {
                self.ledger.released(several);
                (self.allocated, self.pool) = (self.allocated - 1, self.pool + 1);
            }
            5 if self.allocated > 0 => {
                let chunks = 1 + amount % (self.more_chunks + 1);
                self.ledger.staged(chunks, several);
                self.allocated -= 1;
                (self.staged, self.pool) = (self.staged + chunks, self.pool - (chunks - 1));
            }
            6 if self.received > 0 => {
                self.ledger.staged(1, false);
                (self.received, self.staged) = (self.received - 1, self.staged + 1);
            }
            7 => {
                self.ledger.submitted(self.staged);
                (self.ring, self.staged) = (self.ring + self.staged, 0);
            }
            8 => {
                let frames = self.ring.min(amount);
                self.ledger.completed(frames);
                (self.ring, self.pool) = (self.ring - frames, self.pool + frames);
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let audit = self.ledger.audit(self.pool);
        prop_assert_eq!(audit.held, self.received + self.allocated);
        prop_assert_eq!((audit.fill, audit.transmit), (self.fill, self.staged + self.ring));
        prop_assert_eq!(audit.accounted() + audit.held, audit.total, "no frame is lost, and none is counted twice");
        prop_assert_eq!(self.ledger.free, self.pool);
        prop_assert_eq!(self.ledger.reserved, self.allocated * self.more_chunks);
        prop_assert!(self.ledger.reserved <= self.ledger.free, "what was promised is there");
        prop_assert!(self.ledger.in_fill <= self.ledger.limit);
        prop_assert_eq!(self.ledger.is_sending(), self.ring > 0);
        prop_assert!(self.ledger.wants_flush() || self.staged == 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_frame_is_in_one_place_whatever_is_done(
        (total, ring_size, more_chunks) in (4..200u32, 0..8u32, 0..5u32),
        steps in prop::collection::vec((0..9u8, 0..100u32), 0..300),
    ) {
        let mut model = Model::new(total, 1 << ring_size, more_chunks);
        for (what, amount) in steps {
            model.step(what, amount);
            model.check()?;
        }
        // Everything comes home.
        while model.received + model.allocated + model.staged + model.ring > 0 {
            [(2, 1), (4, 1), (7, 0), (8, total)].into_iter().for_each(|(what, amount)| model.step(what, amount));
        }
        model.step(1, total);
        while model.received > 0 {
            model.step(2, 1);
        }
        model.check()?;
        prop_assert_eq!(model.pool, total);
        prop_assert!(model.ledger.audit(total).is_balanced());
    }

    #[test]
    fn neither_direction_starves_the_other(total in 4..5_000u32, ring_size in 0..13u32) {
        // All that may be received into is with the kernel: there are frames to send.
        let mut receiver = Model::new(total, 1 << ring_size, 0);
        receiver.step(0, total);
        prop_assert!(receiver.ledger.allocate());
        // All that may be sent is on its way: there are frames to receive into.
        let mut sender = Model::new(total, 1 << ring_size, 0);
        while sender.ring < sender.ledger.limit {
            [3, 5, 7].into_iter().for_each(|what| sender.step(what, 0));
        }
        prop_assert!(sender.ledger.wanted_in_fill() > 0);
    }
}

#[test]
fn as_many_are_on_their_way_out_as_the_ring_takes_and_no_more() {
    let mut model = Model::new(64, 16, 0);
    let sent = (0..100)
        .take_while(|_| {
            model.ledger.allocate() && {
                model.ledger.staged(1, false);
                true
            }
        })
        .count();
    assert_eq!(sent, 16);
    assert!(model.ledger.wants_flush(), "somebody waits for frames to come back");
    model.ledger.submitted(16);
    assert!(model.ledger.wants_flush(), "still");
    model.ledger.completed(1);
    assert!(model.ledger.allocate() && !model.ledger.wants_flush());
}

#[test]
fn a_packet_of_several_chunks_is_promised_all_of_them() {
    let mut model = Model::new(8, 64, 2);
    // Of eight frames two packets of three chunks, and not a third one.
    assert!(model.ledger.allocate() && model.ledger.allocate() && !model.ledger.allocate());
    assert_eq!(model.ledger.wanted_in_fill(), 2, "what is promised is not received into");
    model.ledger.staged(1, true);
    assert!(model.ledger.allocate(), "what the first did not take is free for another");
    assert!(!model.ledger.allocate());
}
