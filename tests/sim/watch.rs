//! What must hold of everything that a stack says, whatever it hears: read off the frames alone.

use crate::{heard::Heard, pattern};
use std::{collections::HashMap, time::Duration};
use xskip_core::{
    time::Instant,
    wire::{FourTuple, IpHeader, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions},
};

/// Segments that may be sent again in a second in which nothing is heard: with the shortest timeout there is, five, and a
/// probe or two.
const MOST_IN_SILENCE: u32 = 10;
/// What is sent later than this after something was heard is no answer to it: that may wait for a round trip, in case of
/// reordering.
const SILENCE: Duration = Duration::from_millis(1_500);

/// The stream that a client sends, or a server; the client's tuple names it.
pub fn stream_key(client: &FourTuple, by_server: bool) -> u64 {
    u64::from(client.local.port) << 1 | u64::from(by_server)
}

/// One end of a connection, as the wire knows it. Places in a stream are counted from its SYN, which has place 0.
#[derive(Debug, Default)]
pub struct End {
    iss: Option<SeqNumber>,
    syn: TcpOptions,
    /// Behind the furthest octet it has sent.
    pub sent: u64,
    /// Behind its FIN.
    fin: Option<u64>,
    /// What of the other end's stream has reached it.
    pub heard: Heard,
    /// The furthest place up to which it was acknowledged, as far as it knows.
    pub acknowledged: u64,
    /// The furthest place up to which it was ever invited to send, as far as it knows.
    invited: u64,
    /// The furthest place up to which it has invited the other end.
    edge: u64,
    clock: Option<u32>,
    /// When it last heard something.
    pub last_heard: Instant,
    /// When all that the other end had to say had come, its FIN as well.
    pub complete: Option<Instant>,
    in_silence: (Instant, u32),
    /// Segments with data or FIN it has sent, for the first time or again.
    pub segments: u64,
    /// Those of them that it sent again.
    pub resent: u64,
    /// Those of them that had arrived when they were sent again.
    pub resent_in_vain: u64,
    /// When it last sent something again.
    pub last_resent: Instant,
}

/// A connection, as the wire knows it: the client's end and the server's.
#[derive(Debug, Default)]
pub struct Flow {
    /// The two ends, the client's first.
    pub ends: [End; 2],
    /// Whether one has sent an RST.
    pub was_reset: bool,
    /// What an old SYN has drawn of the server that came again behind the end of its connection: nobody wants it.
    unwanted: Option<SeqNumber>,
}

/// What one end's host promises to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest IP packet, bytes.
    pub mtu: usize,
    /// The most data kept for an application, bytes.
    pub receive_buffer: usize,
}

/// The onlooker.
#[derive(Debug, Default)]
pub struct Watch {
    flows: HashMap<FourTuple, Flow>,
}

impl Watch {
    /// The flow of a client.
    pub fn flow(&self, client: &FourTuple) -> Option<&Flow> {
        self.flows.get(client)
    }

    /// Looks at a segment that a stack has just sent.
    pub fn emitted(&mut self, now: Instant, by_server: bool, ip: &IpHeader, segment: &Segment<'_>, limits: Limits) {
        let client = client_of(ip, &segment.header, by_server);
        let begins = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK);
        let known = self.flows.get(&client).and_then(|flow| flow.ends[usize::from(by_server)].iss);
        if begins && known != Some(segment.header.seq) {
            // A 4-tuple that is used again is another flow.
            self.flows.insert(client, Flow::default());
        }
        let size = ip.len() + segment.header.len() + segment.payload.len();
        assert!(size <= limits.mtu, "no packet is larger than the MTU: {size} bytes, {:?}", segment.header);
        if let Some(flow) = self.flows.get_mut(&client) {
            flow.emitted(now, usize::from(by_server), stream_key(&client, by_server), segment, limits);
        }
    }

    /// Looks at a segment that a stack is about to receive, whole.
    pub fn delivered(&mut self, now: Instant, to_server: bool, ip: &IpHeader, segment: &Segment<'_>) {
        let client = client_of(ip, &segment.header, !to_server);
        if let Some(flow) = self.flows.get_mut(&client) {
            flow.delivered(now, usize::from(to_server), segment);
        }
    }
}

/// The connection of a segment, as its client sees it.
pub fn client_of(ip: &IpHeader, header: &TcpHeader, by_server: bool) -> FourTuple {
    let received = FourTuple::of_received(ip, header);
    if by_server { received } else { received.reversed() }
}

impl Flow {
    /// What both ends agreed to shift windows by.
    fn shift_of(&self, end: usize) -> u8 {
        match (self.ends[end].syn.window_scale, self.ends[1 - end].syn.window_scale) {
            (Some(ours), Some(_)) => ours,
            _ => 0,
        }
    }

    fn emitted(&mut self, now: Instant, from: usize, key: u64, segment: &Segment<'_>, limits: Limits) {
        let header = &segment.header;
        if segment.has(TcpFlags::RST) {
            assert!(segment.payload.is_empty(), "an RST has no data: {header:?}");
            self.was_reset = true;
            return;
        }
        if segment.has(TcpFlags::SYN) {
            return self.synchronized(from, header, limits);
        }
        if from == 1 && segment.is_empty() && self.unwanted.is_some_and(|iss| header.seq == iss.advance(1)) {
            return;
        }
        let Some(iss) = self.ends[from].iss else { panic!("nothing comes before the SYN: {header:?}") };
        let start = u64::from(header.seq.since(iss));
        self.check_acknowledgment(from, header, limits);
        self.check_options(from, header);
        self.check_data(now, from, start, key, segment);
    }

    fn synchronized(&mut self, from: usize, header: &TcpHeader, limits: Limits) {
        let other_edge = usize::from(header.window);
        assert!(other_edge <= limits.receive_buffer, "no window is larger than the buffer: {header:?}");
        let was_heard = self.ends[1 - from].heard.next() > 0;
        let end = &mut self.ends[from];
        if was_heard && end.iss != Some(header.seq) {
            self.unwanted = Some(header.seq).filter(|_| from == 1);
            return;
        }
        end.iss = Some(header.seq);
        end.syn = header.options;
        end.sent = end.sent.max(1);
        end.edge = 1 + other_edge as u64;
    }

    fn check_acknowledgment(&mut self, from: usize, header: &TcpHeader, limits: Limits) {
        let shift = self.shift_of(from);
        let Some(irs) = self.ends[1 - from].iss.filter(|_| header.flags.contains(TcpFlags::ACK)) else {
            panic!("every segment behind the SYN acknowledges: {header:?}")
        };
        let acknowledged = u64::from(header.ack.since(irs));
        let window = u64::from(header.window) << shift;
        let unit = 1u64 << shift;
        let peer_fin = self.ends[1 - from].fin;
        let end = &mut self.ends[from];
        let next = end.heard.next();
        assert!(acknowledged <= next, "what has not come is not acknowledged: {acknowledged} of {next}, {header:?}");
        let limit = limits.receive_buffer as u64;
        assert!(window < limit + unit, "no window is larger than the buffer: {window} of {limit}, {header:?}");
        let edge = acknowledged + window;
        // Behind a FIN comes nothing, so a window has no meaning any more; and it counts in units.
        let is_over = peer_fin.is_some_and(|fin| acknowledged >= fin);
        assert!(
            is_over || edge + unit > end.edge,
            "the right edge of a window stays or moves on: from {} to {edge}, {header:?}",
            end.edge
        );
        end.edge = end.edge.max(edge);
    }

    fn check_options(&mut self, from: usize, header: &TcpHeader) {
        let (ours, theirs) = (self.ends[from].syn, self.ends[1 - from].syn);
        let irs = self.ends[1 - from].iss.unwrap_or_default();
        let options = &header.options;
        let blocks = options.sack.as_slice();
        let sack = ours.sack_permitted && theirs.sack_permitted;
        assert!(sack || blocks.is_empty(), "no reports without leave: {header:?}");
        let end = &mut self.ends[from];
        for &(left, right) in blocks {
            let (left, right) = (u64::from(left.since(irs)), u64::from(right.since(irs)));
            let has = left < right && end.heard.has(left, right);
            assert!(has, "what has not come is not reported: {left} to {right}, {header:?}");
        }
        let clocks = ours.timestamps.is_some() && theirs.timestamps.is_some();
        assert_eq!(clocks, options.timestamps.is_some(), "timestamps always or never: {header:?}");
        if let Some(clock) = options.timestamps {
            let ticked = end.clock.is_none_or(|last| clock.value.wrapping_sub(last) < 1 << 31);
            assert!(ticked, "a clock goes forward: {:?}, {header:?}", end.clock);
            end.clock = Some(clock.value);
        }
    }

    fn check_data(&mut self, now: Instant, from: usize, start: u64, key: u64, segment: &Segment<'_>) {
        let header = &segment.header;
        let fin = segment.has(TcpFlags::FIN);
        let stop = start + u64::from(segment.len());
        let mss = usize::from(self.ends[1 - from].syn.mss.unwrap_or(536));
        let arrived = self.ends[1 - from].heard.has(start, stop);
        let end = &mut self.ends[from];
        let behind_fin = u64::from(segment.is_empty() && end.fin == Some(start));
        // A keep-alive stands one octet back (RFC 9293 §3.8.4).
        let asks = segment.is_empty() && start + 1 == end.sent;
        assert!(asks || 0 < start && start <= end.sent, "no gaps: {start} after {}, {header:?}", end.sent);
        assert!(end.fin.is_none_or(|fin| stop <= fin + behind_fin), "nothing follows a FIN: {header:?}");
        let fits = segment.payload.is_empty() || segment.payload.len() + header.options.len() <= mss;
        assert!(fits, "no segment is larger than its receiver wants: {} of {mss}, {header:?}", segment.payload.len());
        let written = segment.payload.is_empty() || pattern::matches(key, start - 1, segment.payload);
        assert!(written, "octets are sent as they were written: {header:?}");
        let probes = stop == start + 1 && start == end.invited;
        assert!(
            segment.is_empty() || stop <= end.invited || probes,
            "nothing is sent beyond the window: {start} to {stop} of {}, {header:?}",
            end.invited
        );
        if fin {
            assert!(end.fin.is_none_or(|known| known == stop), "a FIN stays where it is: {header:?}");
            end.fin = Some(stop);
        }
        if segment.is_empty() {
            return;
        }
        end.segments += 1;
        if start < end.sent {
            end.resent += 1;
            end.resent_in_vain += u64::from(arrived);
            end.last_resent = now;
            end.check_silence(now);
        }
        end.sent = end.sent.max(stop);
    }

    fn delivered(&mut self, now: Instant, to: usize, segment: &Segment<'_>) {
        let header = &segment.header;
        let shift = if segment.has(TcpFlags::SYN) { 0 } else { self.shift_of(1 - to) };
        if segment.has(TcpFlags::SYN) && to == 0 && self.ends[0].heard.next() == 0 {
            // Cookies of different epochs differ. The first that the client hears of is the server's number.
            self.ends[1].iss = Some(header.seq);
        }
        let (sent_by_other, fin) = (self.ends[1 - to].sent, self.ends[1 - to].fin);
        let Some(irs) = self.ends[1 - to].iss else { return };
        let start = u64::from(header.seq.since(irs));
        let end = &mut self.ends[to];
        end.last_heard = now;
        if start + u64::from(segment.len()) <= sent_by_other {
            end.heard.add(start, start + u64::from(segment.len()));
        }
        if fin.is_some_and(|fin| end.heard.next() >= fin) {
            end.complete.get_or_insert(now);
        }
        let window = u64::from(header.window) << shift;
        let Some(iss) = end.iss.filter(|_| segment.has(TcpFlags::ACK)) else {
            // A SYN acknowledges nothing, but its window counts from behind ours on.
            end.invited = end.invited.max(1 + window);
            return;
        };
        let acknowledged = u64::from(header.ack.since(iss));
        if acknowledged <= end.sent {
            end.acknowledged = end.acknowledged.max(acknowledged);
            end.invited = end.invited.max(acknowledged + window);
        }
    }

    /// Whether one end waits for the other, as far as the wire can tell.
    pub fn has_outstanding(&self, end: usize) -> bool {
        let end = &self.ends[end];
        end.acknowledged < end.sent && end.acknowledged > 0
    }
}

impl End {
    /// Where nothing is heard, little is sent.
    fn check_silence(&mut self, now: Instant) {
        if now - self.last_heard < SILENCE {
            return;
        }
        let (since, count) = &mut self.in_silence;
        if *since < self.last_heard || now - *since >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        assert!(*count <= MOST_IN_SILENCE, "no storms: {count} segments sent again in a second, unanswered");
    }
}
