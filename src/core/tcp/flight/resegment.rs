//! The path takes less than what is on its way: that is cut into smaller segments (RFC 1191 §6.4).

use super::{Flight, InFlight};

impl Flight {
    /// Cuts what has more than `mss` octets of data into pieces, and takes them for lost, unless the peer has sacked them;
    /// whether there was any such.
    pub fn resegment(&mut self, mss: u32) -> bool {
        if self.segments.iter().all(|segment| segment.data() <= mss) {
            return false;
        }
        let before = std::mem::take(&mut self.segments);
        self.segments.reserve(before.len());
        let mut run: Option<InFlight> = None;
        for mut segment in before {
            segment.lost |= segment.data() > mss && !segment.sacked;
            // What has to be sent again in any case is cut as if it had never been sent: into pieces as large as they may be.
            match &mut run {
                Some(run) if run.lost && segment.lost => {
                    run.length += segment.length;
                    (run.fin, run.retransmitted) = (segment.fin, run.retransmitted | segment.retransmitted);
                }
                run => {
                    if let Some(run) = run.replace(segment) {
                        self.push_in_pieces(run, mss);
                    }
                }
            }
        }
        if let Some(run) = run {
            self.push_in_pieces(run, mss);
        }
        self.change_all(|_, _| {});
        self.resized = true;
        true
    }

    fn push_in_pieces(&mut self, mut segment: InFlight, mss: u32) {
        while segment.data() > mss {
            self.segments.push_back(InFlight { length: mss, fin: false, ..segment });
            segment.start = segment.start.advance(mss);
            segment.length -= mss;
        }
        self.segments.push_back(segment);
    }
}
