use super::*;
use netlink_packet_core::{DoneMessage, Emitable, ErrorMessage, NLM_F_MULTIPART};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use std::num::NonZeroI32;

const SEQUENCE: u32 = 7;

type Payload = NetlinkPayload<RouteNetlinkMessage>;

fn link(index: u32) -> Payload {
    let mut message = LinkMessage::default();
    message.header.index = index;
    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
}

fn done(code: i32) -> Payload {
    let mut done = DoneMessage::default();
    done.code = code;
    NetlinkPayload::Done(done)
}

fn error(code: i32) -> Payload {
    let mut error = ErrorMessage::default();
    error.code = NonZeroI32::new(code);
    NetlinkPayload::Error(error)
}

fn message(sequence: u32, flags: u16, payload: Payload) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.emit(&mut bytes);
    bytes
}

fn ours(payload: Payload) -> Vec<u8> {
    message(SEQUENCE, NLM_F_MULTIPART, payload)
}

/// What comes of these datagrams: whether the answer has ended, and the answer; or the error's sentence.
fn taken(datagrams: &[Vec<u8>]) -> Result<(bool, Answer<RouteNetlinkMessage>), String> {
    let (mut answer, mut has_ended) = (Answer::default(), false);
    for datagram in datagrams {
        assert!(!has_ended, "nobody reads on behind the end");
        has_ended = answer.take("list", SEQUENCE, datagram).map_err(|error| error.to_string())?;
    }
    Ok((has_ended, answer))
}

fn indices(answer: &Answer<RouteNetlinkMessage>) -> Vec<u32> {
    let index = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewLink(link) => link.header.index,
        other => panic!("{other:?}"),
    };
    answer.messages.iter().map(index).collect()
}

#[test]
fn a_list_over_several_datagrams_ends_with_done() {
    let first = [ours(link(1)), ours(link(2))].concat();
    let (has_ended, answer) = taken(std::slice::from_ref(&first)).unwrap();
    assert!(!has_ended && indices(&answer) == [1, 2]);
    let (has_ended, answer) = taken(&[first, [ours(link(3)), ours(done(0))].concat()]).unwrap();
    assert!(has_ended && indices(&answer) == [1, 2, 3] && !answer.is_interrupted && answer.unreadable.is_none());
}

#[test]
fn a_change_ends_with_its_acknowledgment() {
    let (has_ended, answer) = taken(&[ours(error(0))]).unwrap();
    assert!(has_ended && answer.messages.is_empty());
}

#[test]
fn the_kernels_refusal_is_told_wherever_it_stands() {
    for refusal in [error(-libc::EPERM), done(-libc::EPERM)] {
        let said = taken(&[[ours(link(1)), ours(refusal)].concat()]).unwrap_err();
        assert!(said.starts_with("not permitted to list"), "{said}");
    }
    assert!(taken(&[ours(error(i32::MIN))]).is_err() && taken(&[ours(done(i32::MIN))]).is_err());
}

#[test]
fn what_is_left_of_an_earlier_request_is_no_part_of_the_answer() {
    let earlier = [message(SEQUENCE - 1, 0, link(9)), message(SEQUENCE - 1, 0, error(-libc::EINVAL))].concat();
    let (has_ended, answer) = taken(&[earlier, [ours(link(1)), ours(done(0))].concat()]).unwrap();
    assert!(has_ended && indices(&answer) == [1]);
}

#[test]
fn a_list_that_changed_meanwhile_says_so() {
    let changed = message(SEQUENCE, NLM_F_MULTIPART | NLM_F_DUMP_INTR, link(1));
    let (_, answer) = taken(&[[changed, ours(done(0))].concat()]).unwrap();
    assert!(answer.is_interrupted && indices(&answer) == [1]);
}

#[test]
fn one_message_that_is_not_understood_costs_none_of_the_others() {
    let mut strange = ours(link(2));
    strange[4..6].copy_from_slice(&0x7fffu16.to_ne_bytes());
    let (has_ended, answer) = taken(&[[ours(link(1)), strange, ours(link(3)), ours(done(0))].concat()]).unwrap();
    let known = answer.messages.iter().filter(|message| matches!(message, RouteNetlinkMessage::NewLink(_))).count();
    assert!(has_ended && known == 2);
    // A link's message whose header is cut off.
    let mut short = ours(link(2))[..16].to_vec();
    short[..4].copy_from_slice(&16u32.to_ne_bytes());
    let (has_ended, answer) = taken(&[[ours(link(1)), short, ours(link(3)), ours(done(0))].concat()]).unwrap();
    assert!(has_ended && indices(&answer) == [1, 3] && answer.unreadable.is_some());
}

#[test]
fn octets_that_are_no_messages_are_an_error_and_no_panic() {
    let good = [ours(link(1)), ours(done(0))].concat();
    for end in 1..good.len() {
        let _ = taken(&[good[..end].to_vec()]);
    }
    for length in [0u32, 15, 17, u32::MAX] {
        let mut bad = ours(link(1));
        bad[..4].copy_from_slice(&length.to_ne_bytes());
        let _ = taken(&[bad]);
    }
    assert!(taken(&[vec![1; 7]]).unwrap_err().contains("list"));
}

/// What comes of these datagrams for requests with the numbers from `SEQUENCE` on: the index of the link, if one, or the error
/// number; none where it is missing still.
fn answers(requests: usize, datagrams: &[Vec<u8>]) -> Vec<Option<Result<Option<u32>, i32>>> {
    let mut answers = Answers::<RouteNetlinkMessage>::new(SEQUENCE, requests);
    datagrams.iter().for_each(|datagram| answers.take("list", datagram).unwrap());
    let missing = answers.of_each.iter().filter(|answer| answer.is_none()).count();
    assert_eq!(answers.missing, missing);
    let index = |message| match message {
        RouteNetlinkMessage::NewLink(link) => link.header.index,
        other => panic!("{other:?}"),
    };
    let of_each = answers.of_each.into_iter();
    let read = |answer: io::Result<Option<_>>| {
        answer.map(|message| message.map(index)).map_err(|error| error.raw_os_error().unwrap())
    };
    of_each.map(|answer| answer.map(read)).collect()
}

#[test]
fn many_requests_have_their_answers_each() {
    let first = [message(SEQUENCE, 0, link(4)), message(SEQUENCE + 2, 0, error(-libc::ENOENT))].concat();
    assert_eq!(answers(4, std::slice::from_ref(&first)), [Some(Ok(Some(4))), None, Some(Err(libc::ENOENT)), None]);
    let mut strange = message(SEQUENCE + 3, 0, link(2))[..16].to_vec();
    strange[..4].copy_from_slice(&16u32.to_ne_bytes());
    let others = [message(SEQUENCE - 1, 0, link(9)), message(SEQUENCE + 4, 0, link(9))].concat();
    let all = answers(4, &[first, others, message(SEQUENCE + 1, 0, error(0)), strange]);
    assert_eq!(all, [Some(Ok(Some(4))), Some(Ok(None)), Some(Err(libc::ENOENT)), Some(Ok(None))]);
}

#[test]
fn numbers_of_requests_begin_again() {
    let mut answers = Answers::<RouteNetlinkMessage>::new(u32::MAX, 2);
    answers.take("list", &message(0, 0, link(1))).unwrap();
    assert!(answers.of_each[0].is_none() && answers.of_each[1].is_some());
    answers.take("list", &message(u32::MAX, 0, link(1))).unwrap();
    assert_eq!(answers.missing, 0);
    assert!(answers.take("list", &[1; 7]).unwrap_err().to_string().contains("list"));
}
