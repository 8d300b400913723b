use super::*;
use crate::wire::{Endpoint, IpHeader, LinkHeader, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions};
use State::{CloseWait, Closed, Established, FinWait1, FinWait2, LastAck, SynReceived, TimeWait};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

const ACK: TcpFlags = TcpFlags::ACK;
const SYN: TcpFlags = TcpFlags::SYN;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;
const PSH: TcpFlags = TcpFlags::PSH;

/// The peer's initial sequence number: its first data wrap around.
const PEER_ISS: u32 = u32::MAX - 3;
const OUR_ISS: u32 = 1_000_000;
/// Some moment in the life of Unix.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);

/// What has been drawn.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// The text after a line break, so that a test can show it beginning on a line of its own.
    fn text(&self) -> String {
        format!("\n{}", String::from_utf8(self.0.lock().unwrap().clone()).unwrap())
    }
}

/// A ladder with the peers that appear on it, told apart by their ports.
struct Scene {
    ladder: Ladder,
    page: Page,
}

impl Scene {
    fn new(options: LadderOptions) -> Self {
        let page = Page::default();
        Self { ladder: Ladder::new(page.clone(), options).unwrap(), page }
    }

    /// A segment from the peer at `port`, so many microseconds after the beginning; numbers are relative.
    fn received(&self, port: u16, micros: u64, flags: TcpFlags, (seq, ack, length): (u32, u32, usize), state: State) {
        let (seq, ack) = (PEER_ISS.wrapping_add(seq), OUR_ISS.wrapping_add(ack));
        self.frame(Direction::Received, micros, &header(port, 80, flags, seq, ack), length, state);
    }

    /// A segment from us.
    fn sent(&self, port: u16, micros: u64, flags: TcpFlags, (seq, ack, length): (u32, u32, usize), state: State) {
        let (seq, ack) = (OUR_ISS.wrapping_add(seq), PEER_ISS.wrapping_add(ack));
        self.frame(Direction::Transmitted, micros, &header(80, port, flags, seq, ack), length, state);
    }

    fn frame(&self, direction: Direction, micros: u64, tcp: &TcpHeader, length: usize, state: State) {
        let (peer, ours) = (IpAddr::from([198, 18, 0, 2]), IpAddr::from([198, 18, 0, 1]));
        let ip = match direction {
            Direction::Received => IpHeader::new(peer, ours, Protocol::Tcp),
            Direction::Transmitted => IpHeader::new(ours, peer, Protocol::Tcp),
        };
        let link = LinkHeader::default();
        let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, tcp) + length];
        wire::write_tcp(&link, &ip, tcp, (&vec![b'x'; length], &[]), &mut frame);
        // A segment of no connection comes without a state.
        let state = (state != Closed).then_some(state);
        let (at, interface) = (BEGIN + Duration::from_micros(micros), InterfaceId::FIRST);
        self.ladder.frame(&TapEvent { at, direction, interface, frame: &frame, state });
    }

    /// The three-way handshake, in the first 300 microseconds after `micros`.
    fn handshake(&self, port: u16, micros: u64) {
        self.received(port, micros, SYN, (0, 0, 0), SynReceived);
        self.sent(port, micros + 20, SYN | ACK, (0, 1, 0), SynReceived);
        self.received(port, micros + 300, ACK, (1, 1, 0), Established);
    }

    /// What is drawn so far.
    fn text(&self) -> String {
        self.ladder.catch_up();
        self.page.text()
    }

    fn finished(self) -> String {
        self.ladder.finish();
        self.page.text()
    }
}

fn header(source_port: u16, destination_port: u16, flags: TcpFlags, seq: u32, ack: u32) -> TcpHeader {
    let (seq, ack) = (SeqNumber::new(seq), SeqNumber::new(ack));
    let options = TcpOptions::default();
    TcpHeader { source_port, destination_port, seq, ack, flags, window: 65_535, urgent: 0, options }
}

#[test]
fn a_whole_conversation_is_drawn() {
    let scene = Scene::new(LadderOptions::default());
    scene.handshake(40_000, 0);
    scene.received(40_000, 400, PSH | ACK, (1, 1, 70), Established);
    scene.sent(40_000, 450, PSH | ACK, (1, 71, 1_207), Established);
    scene.received(40_000, 700, ACK, (71, 1_208, 0), Established);
    scene.received(40_000, 1_200_000, FIN | ACK, (71, 1_208, 0), CloseWait);
    scene.sent(40_000, 1_200_010, ACK, (1_208, 72, 0), CloseWait);
    scene.sent(40_000, 1_200_011, FIN | ACK, (1_208, 72, 0), LastAck);
    assert_eq!(scene.text(), "\n", "nothing is printed before the end");
    scene.received(40_000, 1_200_301, ACK, (72, 1_209, 0), Closed);
    let whole = scene.text();
    assert_eq!(
        whole,
        r"
              198.18.0.2:40000 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    0.400 ms  |---- PSH,ACK     seq 1          ack 1          len 70    ----------->|  ESTABLISHED
    0.450 ms  |<--- PSH,ACK     seq 1          ack 71         len 1207  ------------|  ESTABLISHED
    0.700 ms  |---- ACK         seq 71         ack 1208       len 0     ----------->|  ESTABLISHED
 1200.000 ms  |---- FIN,ACK     seq 71         ack 1208       len 0     ----------->|  CLOSE-WAIT    the peer closes its side
 1200.010 ms  |<--- ACK         seq 1208       ack 72         len 0     ------------|  CLOSE-WAIT    we acknowledge its FIN
 1200.011 ms  |<--- FIN,ACK     seq 1208       ack 72         len 0     ------------|  LAST-ACK      we close ours
 1200.301 ms  |---- ACK         seq 72         ack 1209       len 0     ----------->|  CLOSED        four-way close complete

"
    );
    assert_eq!(scene.finished(), whole, "it is drawn once");
}

#[test]
fn our_own_close_is_drawn() {
    let scene = Scene::new(LadderOptions::default());
    scene.handshake(40_000, 0);
    scene.sent(40_000, 1_000, FIN | ACK, (1, 1, 0), FinWait1);
    scene.received(40_000, 1_500, ACK, (1, 2, 0), FinWait2);
    scene.received(40_000, 2_000, FIN | ACK, (1, 2, 0), TimeWait);
    scene.sent(40_000, 2_010, ACK, (2, 2, 0), TimeWait);
    assert_eq!(
        scene.text(),
        r"
              198.18.0.2:40000 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    1.000 ms  |<--- FIN,ACK     seq 1          ack 1          len 0     ------------|  FIN-WAIT-1    we close our side
    1.500 ms  |---- ACK         seq 1          ack 2          len 0     ----------->|  FIN-WAIT-2    the peer acknowledges our FIN
    2.000 ms  |---- FIN,ACK     seq 1          ack 2          len 0     ----------->|  TIME-WAIT     the peer closes its side
    2.010 ms  |<--- ACK         seq 2          ack 2          len 0     ------------|  TIME-WAIT     close complete; TIME-WAIT lasts 2xMSL

"
    );
}

#[test]
fn a_refused_connection_is_drawn() {
    let scene = Scene::new(LadderOptions::default());
    scene.received(40_001, 0, SYN, (0, 0, 0), Closed);
    // The RST's sequence number is zero, and its acknowledgment the SYN's.
    let reset = header(80, 40_001, RST | ACK, 0, PEER_ISS.wrapping_add(1));
    scene.frame(Direction::Transmitted, 9, &reset, 0, Closed);
    assert_eq!(
        scene.text(),
        r"
              198.18.0.2:40001 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  CLOSED
    0.009 ms  |<--- RST,ACK     seq 1          ack 1          len 0     ------------|  CLOSED        refused: no such connection, and nobody listens

"
    );
}

#[test]
fn resets_from_either_side_are_drawn() {
    let scene = Scene::new(LadderOptions::default());
    scene.handshake(40_002, 0);
    scene.received(40_002, 900, RST, (1, 0, 0), Closed);
    scene.handshake(40_003, 2_000);
    scene.sent(40_003, 2_900, RST | ACK, (1, 1, 0), Closed);
    assert_eq!(
        scene.text(),
        r"
              198.18.0.2:40002 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    0.900 ms  |---- RST         seq 1                         len 0     ----------->|  CLOSED        reset by the peer

              198.18.0.2:40003 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    0.900 ms  |<--- RST,ACK     seq 1          ack 1          len 0     ------------|  CLOSED        reset by us

"
    );
}

#[test]
fn what_is_sent_again_is_marked() {
    let scene = Scene::new(LadderOptions::default());
    scene.handshake(40_004, 0);
    scene.sent(40_004, 400, PSH | ACK, (1, 1, 100), Established);
    scene.sent(40_004, 200_400, PSH | ACK, (1, 1, 100), Established);
    scene.received(40_004, 200_700, ACK, (1, 101, 0), Established);
    scene.received(40_004, 201_000, PSH | ACK, (1, 101, 10), Established);
    scene.received(40_004, 202_000, PSH | ACK, (1, 101, 10), Established);
    // More than before is news, even if it begins where something else did.
    scene.received(40_004, 203_000, PSH | ACK, (1, 101, 20), Established);
    // And an empty acknowledgment is never a retransmission.
    scene.received(40_004, 204_000, ACK, (21, 101, 0), Established);
    scene.received(40_004, 204_001, ACK, (21, 101, 0), Established);
    assert_eq!(
        scene.finished(),
        r"
              198.18.0.2:40004 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    0.400 ms  |<--- PSH,ACK     seq 1          ack 1          len 100   ------------|  ESTABLISHED
  200.400 ms  |<--- PSH,ACK     seq 1          ack 1          len 100   ------------|  ESTABLISHED   sent again
  200.700 ms  |---- ACK         seq 1          ack 101        len 0     ----------->|  ESTABLISHED
  201.000 ms  |---- PSH,ACK     seq 1          ack 101        len 10    ----------->|  ESTABLISHED
  202.000 ms  |---- PSH,ACK     seq 1          ack 101        len 10    ----------->|  ESTABLISHED   sent again
  203.000 ms  |---- PSH,ACK     seq 1          ack 101        len 20    ----------->|  ESTABLISHED
  204.000 ms  |---- ACK         seq 21         ack 101        len 0     ----------->|  ESTABLISHED
  204.001 ms  |---- ACK         seq 21         ack 101        len 0     ----------->|  ESTABLISHED
              (not ended yet)

"
    );
}

#[test]
fn plain_segments_in_a_row_are_summed_up() {
    let scene = Scene::new(LadderOptions { fold_after: 2, ..LadderOptions::default() });
    scene.handshake(40_005, 0);
    for index in 0..1_300 {
        scene.sent(40_005, 400 + u64::from(index), ACK, (1 + 1_000 * index, 1, 1_000), Established);
    }
    scene.received(40_005, 2_000, PSH | ACK, (1, 1_300_001, 5), Established);
    scene.received(40_005, 3_000, FIN | ACK, (6, 1_300_001, 0), CloseWait);
    assert_eq!(
        scene.finished(),
        r"
              198.18.0.2:40005 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
    0.300 ms  |---- ACK         seq 1          ack 1          len 0     ----------->|  ESTABLISHED   three-way handshake complete
    0.400 ms  |<--- ACK         seq 1          ack 1          len 1000  ------------|  ESTABLISHED
    0.401 ms  |<--- ACK         seq 1001       ack 1          len 1000  ------------|  ESTABLISHED
              | ... 1,299 segments: 5 bytes from the peer, 1,298,000 from us ... |
    3.000 ms  |---- FIN,ACK     seq 6          ack 1300001    len 0     ----------->|  CLOSE-WAIT    the peer closes its side
              (not ended yet)

"
    );
}

#[test]
fn live_diagrams_say_who_is_speaking() {
    let scene = Scene::new(LadderOptions { mode: LadderMode::Live, ..LadderOptions::default() });
    scene.received(40_006, 0, SYN, (0, 0, 0), SynReceived);
    assert_eq!(scene.text().lines().count(), 3, "a line as soon as there is something to say");
    scene.sent(40_006, 20, SYN | ACK, (0, 1, 0), SynReceived);
    scene.received(40_007, 30, SYN, (0, 0, 0), SynReceived);
    scene.received(40_006, 40, RST, (1, 0, 0), Closed);
    assert_eq!(
        scene.finished(),
        r"
              198.18.0.2:40006 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
    0.020 ms  |<--- SYN,ACK     seq 0          ack 1          len 0     ------------|  SYN-RECEIVED
              198.18.0.2:40007 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
              198.18.0.2:40006 (peer)                        198.18.0.1:80 (xskip)   our state
    0.040 ms  |---- RST         seq 1                         len 0     ----------->|  CLOSED        reset by the peer

              198.18.0.2:40007 (peer)                        198.18.0.1:80 (xskip)   our state
              (not ended yet)

"
    );
}

#[test]
fn connections_beyond_the_limit_are_counted_only() {
    let scene = Scene::new(LadderOptions { connections: 1, ..LadderOptions::default() });
    scene.received(40_008, 0, SYN, (0, 0, 0), SynReceived);
    scene.received(40_009, 10, SYN, (0, 0, 0), SynReceived);
    scene.sent(40_009, 20, SYN | ACK, (0, 1, 0), SynReceived);
    assert_eq!(
        scene.finished(),
        r"
              198.18.0.2:40008 (peer)                        198.18.0.1:80 (xskip)   our state
    0.000 ms  |---- SYN         seq 0                         len 0     ----------->|  SYN-RECEIVED
              (not ended yet)

(2 segments of further connections are not shown)
"
    );
}

#[test]
fn a_diagram_has_a_greatest_length() {
    let scene = Scene::new(LadderOptions { fold_after: usize::MAX, ..LadderOptions::default() });
    scene.handshake(40_010, 0);
    for index in 0..2_500 {
        scene.received(40_010, 400, ACK, (1 + index, 1, 1), Established);
    }
    let text = scene.finished();
    let lines: Vec<&str> = text.trim().lines().collect();
    // The heading, 2,000 segments, the sum of the other 503, and that it has not ended.
    assert_eq!(lines.len(), 2_003);
    assert!(lines[2_001].contains("... 503 segments: 503 bytes from the peer, 0 from us ..."), "{}", lines[2_001]);
}

#[test]
fn other_frames_leave_no_trace() {
    let scene = Scene::new(LadderOptions::default());
    for frame in [&[][..], &[0; 60], &[0xff; 60]] {
        let (direction, interface) = (Direction::Received, InterfaceId::FIRST);
        let event = TapEvent { at: BEGIN, direction, interface, frame, state: None };
        scene.ladder.frame(&event);
    }
    assert_eq!(scene.finished(), "\n");
}

#[test]
fn a_heading_names_both_ends_of_ipv6_too() {
    let end = |last, port| Endpoint { address: IpAddr::from([0x2001, 2, 0, 0, 0, 0, 0, last]), port };
    let tuple = FourTuple { local: end(1, 80), remote: end(2, 40_000) };
    let heading = diagram::heading(&tuple);
    assert!(heading.trim_start().starts_with("[2001:2::2]:40000 (peer) "), "{heading}");
    assert!(heading.ends_with(" [2001:2::1]:80 (xskip)   our state"), "{heading}");
}

/// A reader who takes nothing before he is told to.
struct Paused {
    page: Page,
    go_on: std::sync::mpsc::Receiver<()>,
    reached: std::sync::mpsc::Sender<()>,
}

impl Write for Paused {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.reached.send(()).ok();
        self.go_on.recv().ok();
        self.page.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_paused_reader_misses_is_said_in_its_place_and_open_diagrams_end_there() {
    let (page, (start, go_on), (reached, is_reached)) =
        (Page::default(), std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let out = Paused { page: page.clone(), go_on, reached };
    let room = Room { frames: 5, octets: 1 << 16 };
    let scene = Scene { ladder: Ladder::with_room(room, out, LadderOptions::default()).unwrap(), page };
    // A diagram that is printed, and holds the ladder up.
    scene.received(40_000, 0, SYN, (0, 0, 0), Closed);
    scene.sent(40_000, 1, RST, (0, 0, 0), Closed);
    is_reached.recv().unwrap();
    // Three of the next five are an open connection's; what comes then is lost, its end included.
    scene.handshake(40_001, 0);
    scene.received(40_001, 400, ACK, (1, 1, 7), Established);
    scene.received(40_001, 500, ACK, (8, 1, 7), Established);
    (0..90).for_each(|number| scene.received(40_001, 600 + number, ACK, (15, 1, 7), Established));
    drop(start);
    scene.ladder.catch_up();
    scene.received(40_001, 1_000, FIN | ACK, (15, 1, 0), CloseWait);
    let summary = scene.ladder.finish();
    assert_eq!(summary, LadderSummary { frames: 8, lost: 90, unread: false });
    let text = scene.page.text();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let place = lines.iter().position(|line| line.contains("90 frames are missing here")).expect("the gap is said");
    assert_eq!(lines[place - 1], "(not ended yet)", "{text}");
    assert!(lines[place + 1].contains("198.18.0.2:40001 (peer)"), "another diagram begins: {text}");
    assert!(lines[place + 2].contains("FIN,ACK") && lines.len() == place + 4, "{text}");
}
