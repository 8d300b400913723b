use super::{pcapng::as_two_words, *};
use crate::{telemetry::lookout::Observer, wire::InterfaceId, worker::Direction};
use pcap_file::{
    DataLink,
    pcapng::{
        Block, PcapNgReader,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::InterfaceDescriptionOption,
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::SectionHeaderOption,
        },
    },
};
use std::{
    borrow::Cow,
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};

/// A moment with nanoseconds that a coarser clock would lose.
const AT: Duration = Duration::new(1_700_000_000, 123_456_789);

fn event(at: Duration, direction: Direction, frame: &[u8]) -> TapEvent<'_> {
    TapEvent { at, direction, interface: InterfaceId::FIRST, frame, state: None }
}

/// A capture of `events` on `xskip0`, and the blocks behind the section header of its file.
fn captured(events: &[TapEvent<'_>]) -> (CaptureSummary, Vec<Block<'static>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    let capture = Capture::create(&path, &["xskip0"]).unwrap();
    for event in events {
        capture.frame(event);
    }
    let summary = capture.finish().unwrap();
    // Read while the capture is still there: what is finished is in the file.
    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().into_owned());
    }
    (summary, blocks)
}

fn packets(blocks: &[Block<'static>]) -> Vec<EnhancedPacketBlock<'static>> {
    let packet = |block: &Block<'static>| match block {
        Block::EnhancedPacket(packet) => packet.clone(),
        other => panic!("no packet: {other:?}"),
    };
    blocks[1..blocks.len() - 1].iter().map(packet).collect()
}

#[test]
fn the_interface_is_described_first() {
    let (summary, blocks) = captured(&[]);
    assert_eq!(summary, CaptureSummary { frames: 0, bytes: 0, lost: 0 });
    let [Block::InterfaceDescription(interface), Block::InterfaceStatistics(_)] = &blocks[..] else {
        panic!("one interface only: {blocks:?}")
    };
    assert_eq!((interface.linktype, interface.snaplen), (DataLink::ETHERNET, 65_535));
    let expected =
        [InterfaceDescriptionOption::IfName(Cow::Borrowed("xskip0")), InterfaceDescriptionOption::IfTsResol(9)];
    assert_eq!(interface.options, expected);
}

#[test]
fn the_section_says_who_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    Capture::create(&path, &["xskip0"]).unwrap().finish().unwrap();
    let reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let writer = SectionHeaderOption::UserApplication(Cow::Owned(format!("xskip {}", env!("CARGO_PKG_VERSION"))));
    assert!(reader.section().options.contains(&writer), "{:?}", reader.section().options);
}

#[test]
fn frames_are_read_back_with_time_direction_and_length() {
    let later = AT + Duration::from_nanos(1);
    let (summary, blocks) = captured(&[
        event(AT, Direction::Received, b"a frame in"),
        event(later, Direction::Transmitted, b"and one out"),
        event(later, Direction::Received, b""),
    ]);
    assert_eq!(summary, CaptureSummary { frames: 3, bytes: 21, lost: 0 });
    let expected = [(AT, 1, &b"a frame in"[..]), (later, 2, b"and one out"), (later, 1, b"")];
    let expected = expected.map(|(timestamp, direction, data)| EnhancedPacketBlock {
        interface_id: 0,
        timestamp,
        original_len: data.len() as u32,
        data: Cow::Borrowed(data),
        options: vec![EnhancedPacketOption::Flags(direction)],
    });
    assert_eq!(packets(&blocks), expected);
}

#[test]
fn a_frame_beyond_the_snap_length_is_cut_and_its_length_kept() {
    let frame: Vec<u8> = (0..70_000u32).map(|index| index as u8).collect();
    for (length, kept) in [(65_535, 65_535), (65_536, 65_535), (70_000, 65_535)] {
        let (summary, blocks) = captured(&[event(AT, Direction::Received, &frame[..length])]);
        let packet = &packets(&blocks)[0];
        assert_eq!((packet.original_len as usize, packet.data.len()), (length, kept));
        assert!(*packet.data == frame[..kept]);
        assert_eq!(summary, CaptureSummary { frames: 1, bytes: length as u64, lost: 0 });
    }
}

#[test]
fn a_capture_replaces_an_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    std::fs::write(&path, vec![0xff; 100_000]).unwrap();
    Capture::create(&path, &["xskip0"]).unwrap().finish().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 1_000);
}

#[test]
fn finishing_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let capture = Capture::create(folder.path().join("trace.pcapng"), &["xskip0"]).unwrap();
    capture.frame(&event(AT, Direction::Received, b"frame"));
    let first = capture.finish().unwrap();
    assert_eq!(first, CaptureSummary { frames: 1, bytes: 5, lost: 0 });
    assert_eq!(capture.finish().unwrap(), first);
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("trace.pcapng");
    let error = Capture::create(&path, &["xskip0"]).unwrap_err();
    assert!(matches!(error, CaptureError::Create { .. }));
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

/// What the file says at its end of how many frames were seen and lost, and when it last saw one.
fn statistics(blocks: &[Block<'static>]) -> (Vec<InterfaceStatisticsOption<'static>>, u64) {
    match blocks.last() {
        Some(Block::InterfaceStatistics(InterfaceStatisticsBlock { interface_id: 0, timestamp, options })) => {
            (options.clone(), as_two_words(*timestamp))
        }
        other => panic!("no statistics at the end: {other:?}"),
    }
}

fn counts(seen: u64, lost: u64) -> Vec<InterfaceStatisticsOption<'static>> {
    vec![InterfaceStatisticsOption::IsbIfRecv(seen), InterfaceStatisticsOption::IsbIfDrop(lost)]
}

#[test]
fn the_file_says_at_its_end_how_many_frames_were_seen() {
    let (_, blocks) = captured(&[event(AT, Direction::Received, b"one"), event(AT, Direction::Received, b"two")]);
    assert_eq!(statistics(&blocks), (counts(2, 0), AT.as_nanos() as u64));
}

#[test]
fn a_gap_is_marked_where_it_is_and_added_up_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    let mut file = PcapNg::new(Destination::open(&path, Arc::default()).unwrap(), &["xskip0"], Arc::default());
    let show = |file: &mut PcapNg, frame: &[u8]| file.frame(&event(AT, Direction::Received, frame));
    show(&mut file, b"one");
    file.lost(InterfaceId::FIRST, 5);
    show(&mut file, b"two");
    file.lost(InterfaceId::FIRST, 2);
    assert_eq!(file.end(), Ok(6));
    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().into_owned());
    }
    let [_, Block::EnhancedPacket(_), gap, Block::EnhancedPacket(_), _] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(statistics(std::slice::from_ref(gap)).0, counts(6, 5));
    assert_eq!(statistics(&blocks).0, counts(9, 7));
}

#[test]
fn each_interface_has_a_name_and_frames_and_gaps_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    let names = ["veth0", "veth1"];
    let mut file = PcapNg::new(Destination::open(&path, Arc::default()).unwrap(), &names, Arc::default());
    let [first, second, unnamed] = [0, 1, 2].map(|index| InterfaceId::at(index).unwrap());
    for (interface, frame) in [(first, &b"one"[..]), (second, b"two"), (second, b"three"), (unnamed, b"four")] {
        file.frame(&TapEvent { interface, ..event(AT, Direction::Received, frame) });
    }
    file.lost(second, 5);
    file.end().unwrap();
    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let (mut described, mut packets, mut statistics) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap().into_owned() {
            Block::InterfaceDescription(one) => described.push(one.options[0].clone()),
            Block::EnhancedPacket(packet) => packets.push((packet.interface_id, packet.data.into_owned())),
            Block::InterfaceStatistics(one) => statistics.push((one.interface_id, one.options)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(described, names.map(|name| InterfaceDescriptionOption::IfName(Cow::Borrowed(name))));
    let numbers = packets.iter().map(|&(number, _)| number).collect::<Vec<_>>();
    assert_eq!((numbers, &packets[2].1[..]), (vec![0, 1, 1, 1], &b"three"[..]));
    assert_eq!(statistics, [(0, counts(1, 0)), (1, counts(8, 5))]);
}

/// A FIFO of that name.
fn fifo(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("fifo.pcapng");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

#[test]
fn a_fifo_without_a_reader_keeps_nobody_waiting_and_what_nobody_reads_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let capture = Capture::create(&path, &["xskip0"]).unwrap();
    (0..3).for_each(|_| capture.frame(&event(AT, Direction::Received, b"frame")));
    match capture.finish() {
        Err(error @ CaptureError::Unread { frames: 0, lost: 3, .. }) => {
            assert!(error.to_string().contains("nobody reads it"), "{error}");
        }
        other => panic!("three frames were lost: {other:?}"),
    }
}

#[test]
fn a_reader_of_a_fifo_that_comes_later_gets_a_whole_capture_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let capture = Capture::create(&path, &["xskip0"]).unwrap();
    capture.frame(&event(AT, Direction::Received, b"nobody sees this"));
    capture.lookout.catch_up();
    // Opening waits for the writer, which looks for readers now and then.
    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    capture.frame(&event(AT, Direction::Received, b"but this"));
    let read = std::thread::spawn(move || {
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block() {
            blocks.push(block.unwrap().into_owned());
        }
        blocks
    });
    assert_eq!(capture.finish().unwrap(), CaptureSummary { frames: 1, bytes: 8, lost: 1 });
    drop(capture);
    let blocks = read.join().unwrap();
    let [Block::InterfaceDescription(_), gap, Block::EnhancedPacket(packet), _] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    assert_eq!((&*packet.data, statistics(std::slice::from_ref(gap)).0), (&b"but this"[..], counts(1, 1)));
    assert_eq!(statistics(&blocks).0, counts(2, 1));
}

#[test]
fn a_reader_that_pauses_holds_nobody_up_and_every_frame_it_did_not_get_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    // It opens the FIFO, and reads nothing.
    let paused = std::thread::spawn({
        let path = path.clone();
        move || File::open(path).unwrap()
    });
    let capture = Capture::create(&path, &["xskip0"]).unwrap();
    let paused = paused.join().unwrap();
    let frame = [0; 1_000];
    // Far more than the FIFO and both backlogs hold: each call comes back.
    (0..40_000).for_each(|_| capture.frame(&event(AT, Direction::Received, &frame)));
    match capture.finish() {
        // A FIFO holds 65,536 octets; what may be in the middle of being written counts as lost.
        Err(CaptureError::Unread { frames, lost, .. }) => {
            assert_eq!(frames + lost, 40_000);
            assert!(frames <= 65, "{frames} frames written to one who reads nothing");
        }
        other => panic!("the reader had paused: {other:?}"),
    }
    drop(paused);
}

#[test]
fn a_full_disk_is_told_with_the_frames_that_fitted() {
    // A device of the kernel's that is always full.
    let capture = Capture::create("/dev/full", &["xskip0"]).unwrap();
    let frame = vec![0; 60_000];
    for _ in 0..100 {
        capture.frame(&event(AT, Direction::Received, &frame));
    }
    match capture.finish() {
        Err(error @ CaptureError::Write { frames: 0, lost: 100, .. }) => {
            assert!(error.to_string().contains("is the disk full?"), "{error}");
        }
        other => panic!("a full disk went unnoticed: {other:?}"),
    }
}

#[test]
fn nobody_else_may_read_a_capture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcapng");
    for before in [None, Some(0o644), Some(0o666)] {
        if let Some(mode) = before {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        Capture::create(&path, &["xskip0"]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "was {before:?}");
    }
}

#[test]
fn a_capture_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("trace.pcapng"), folder.path().join("target"));
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let error = Capture::create(&path, &["xskip0"]).unwrap_err();
    assert!(matches!(error, CaptureError::Link { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    // Nor one that leads nowhere.
    std::fs::remove_file(&target).unwrap();
    assert!(Capture::create(&path, &["xskip0"]).is_err() && !target.exists());
}
