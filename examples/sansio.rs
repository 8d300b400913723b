//! Two stacks without a kernel, a clock or a socket: from SYN to CLOSED in memory. `cargo run --example sansio`
//!
//! A stack has five verbs. `handle_frame` and `handle_timeout` take things in. Then, until each says `None`: `poll_event`, whose events
//! the application acts on, and `poll_transmit`, whose frames go out. `poll_timeout` says when `handle_timeout` is to be called
//! next.

use xskip::{
    CloseReason, Event,
    config::StackConfig,
    stack::{LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{InterfaceId, MacAddress},
};

fn stack(host: u8) -> Stack {
    let cidr = format!("198.18.0.{host}/24").parse().expect("a good address");
    let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
    // Secrets::random() where strangers are about.
    Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
}

/// One end: says what it has to, once it may, and closes when it has read everything.
fn act(stack: &mut Stack, now: Instant, words: &[u8], heard: &mut Vec<u8>) -> Option<CloseReason> {
    while let Some(event) = stack.poll_event() {
        match event {
            Event::Accepted(id, _) | Event::Connected(id) => {
                let Some(mut stream) = stack.stream(now, id) else { continue };
                stream.write(words);
                stream.shutdown_write();
            }
            Event::Ready(id) => {
                let Some(mut stream) = stack.stream(now, id) else { continue };
                heard.extend_from_slice(&stream.readable_pieces().concat());
                stream.consume(stream.readable_len());
                if stream.at_end() {
                    stream.close();
                }
            }
            Event::Closed(_, reason) => return Some(reason),
            _ => {}
        }
    }
    None
}

/// A whole conversation: what either end heard, how it ended, and how many frames it took.
pub fn converse() -> ([Vec<u8>; 2], [Option<CloseReason>; 2], usize) {
    let (mut now, mut stacks) = (Instant::from_millis(1), [stack(1), stack(2)]);
    stacks[0].listen(None, 7).expect("nobody listens there yet");
    stacks[1].connect(now, "198.18.0.1:7".parse::<std::net::SocketAddr>().expect("good").into(), None).expect("a way");
    let (mut heard, mut ended, mut frames) = ([Vec::new(), Vec::new()], [None; 2], 0);
    let mut buffer = [0; 1_600];
    while ended.contains(&None) {
        let mut is_quiet = true;
        for end in [1, 0] {
            stacks[end].handle_timeout(now);
            ended[end] = ended[end].or(act(&mut stacks[end], now, [&b"hello"[..], b"hi"][end], &mut heard[end]));
            while let Some(length) = stacks[end].poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
                stacks[1 - end].handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
                (is_quiet, frames) = (false, frames + 1);
            }
        }
        // Nothing under way: on to the next deadline, however far that is.
        if is_quiet {
            let deadlines = stacks.iter().filter_map(Stack::poll_timeout);
            now = deadlines.min().expect("somebody waits for something").max(now);
        }
    }
    (heard, ended, frames)
}

fn main() {
    let ([server, client], ended, frames) = converse();
    println!("server heard {}, client heard {}", String::from_utf8_lossy(&server), String::from_utf8_lossy(&client));
    println!("{frames} frames; ended: {ended:?}");
}
