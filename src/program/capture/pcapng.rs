//! The file of a capture, block by block.

use crate::{
    telemetry::lookout::{Metered, Observer, Progress},
    wire::InterfaceId,
    worker::{Direction, TapEvent},
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use pcap_file::{
    DataLink, Endianness, PcapResult,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use std::{
    borrow::Cow,
    fs::{File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Octets of blocks after which they are written, if nothing else makes it time.
const BUFFER: usize = 1 << 16;
/// The mode of the file.
const OWNER_ONLY: u32 = 0o600;
/// The longest frame that is kept whole.
const SNAP_LENGTH: u32 = 65_535;
/// `if_tsresol`: timestamps count 10^-9 s.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: the lowest two bits say which way a packet went.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// How often it is looked whether a FIFO has a reader.
const LOOK: Duration = Duration::from_millis(100);

/// Where blocks go.
pub(super) enum Destination {
    /// To something that takes them.
    Open(Metered<File>),
    /// To a FIFO that nobody has opened for reading yet.
    Awaited(File),
}

impl Destination {
    /// Makes the file, for nobody else to read, also where it was there before with another mode; or opens what is no file, which keeps
    /// its own. A FIFO waits for no reader, which would be waiting in the place of whoever is observed.
    pub fn open(path: &Path, progress: Arc<Progress>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).mode(OWNER_ONLY).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.clone().create(true).truncate(true).open(path) {
            Ok(file) => {
                if file.metadata()?.is_file() {
                    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
                }
                Ok(Self::Open(Metered::new(waiting(file)?, progress)))
            }
            // fifo(7): a FIFO without a reader cannot be opened for writing alone by who does not wait for one, but for both.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                let both = options.clone().read(true).open(path).map_err(|_| error)?;
                // We are a reader ourselves, for a moment. Later there may be no rights left to open anything.
                let file = options.open(path)?;
                drop(both);
                Ok(Self::Awaited(file))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks whether a FIFO has got a reader.
    fn look(&mut self, progress: &Arc<Progress>) -> io::Result<()> {
        let Self::Awaited(file) = self else { return Ok(()) };
        let mut asked = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
        // Without a reader it is in error, and takes nothing.
        if poll(&mut asked, PollTimeout::ZERO)? > 0 && asked[0].revents() == Some(PollFlags::POLLOUT) {
            let file = waiting(file.try_clone()?)?;
            *self = Self::Open(Metered::new(file, progress.clone()));
        }
        Ok(())
    }
}

/// Writes to it wait for room: they are made where nobody minds.
fn waiting(file: File) -> io::Result<File> {
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

/// Why a file ends before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its reader has left, or never came.
    Unread,
    /// This went wrong.
    Refused(String),
}

/// Frames as blocks of pcapng.
pub(super) struct PcapNg {
    destination: Destination,
    /// Blocks that are not written yet: as long as there is no reader, those with which a file begins.
    blocks: PcapNgWriter<Vec<u8>>,
    /// Frames among them, and their bytes.
    pending: (u64, u64),
    /// Frames written, and their bytes.
    written: (u64, u64),
    /// Of each interface, frames seen, and those of them that are lost.
    counts: Vec<(u64, u64)>,
    /// Whether frames were lost of which the file does not tell yet.
    gap: bool,
    /// The time of the last frame.
    last: Duration,
    /// Why nothing is written any more, if so.
    failure: Option<Failure>,
    progress: Arc<Progress>,
}

impl PcapNg {
    /// The interfaces have at least one name, in the order in which workers have them.
    pub fn new(destination: Destination, interfaces: &[&str], progress: Arc<Progress>) -> Self {
        Self {
            destination,
            blocks: begin(interfaces).expect("memory takes what is written to it"),
            pending: (0, 0),
            written: (0, 0),
            counts: vec![(0, 0); interfaces.len().max(1)],
            gap: false,
            last: Duration::ZERO,
            failure: None,
            progress,
        }
    }

    /// Looks whether a FIFO has got a reader.
    fn look(&mut self) {
        if let Err(error) = self.destination.look(&self.progress) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::warn!(%error, frames = self.written.0, "the capture ends here");
        self.failure.get_or_insert(match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Refused(error.to_string()),
        });
    }

    /// Writes the blocks that wait. What was among them when writing fails counts as lost.
    fn write_out(&mut self) {
        let Destination::Open(out) = &mut self.destination else { return };
        if self.failure.is_some() || self.blocks.get_ref().is_empty() {
            return;
        }
        let written = out.write_all(self.blocks.get_ref()).and_then(|()| out.flush());
        self.blocks.get_mut().clear();
        let (frames, bytes) = std::mem::take(&mut self.pending);
        match written {
            Ok(()) => {
                self.written = (self.written.0 + frames, self.written.1 + bytes);
                self.progress.settle(frames);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Says in the file how many frames of each interface are missing.
    fn add_statistics(&mut self) {
        self.gap = false;
        for (interface_id, (seen, lost)) in (0..).zip(self.counts.clone()) {
            let statistics = InterfaceStatisticsBlock {
                interface_id,
                timestamp: as_two_words(self.last.as_nanos() as u64),
                options: vec![InterfaceStatisticsOption::IsbIfRecv(seen), InterfaceStatisticsOption::IsbIfDrop(lost)],
            };
            self.add(|blocks| blocks.write_pcapng_block(statistics));
        }
    }

    /// The number of an interface in the file. One that nobody has named is taken for the last.
    fn number_of(&self, interface: InterfaceId) -> usize {
        interface.index().min(self.counts.len() - 1)
    }

    fn count_lost(&mut self, interface: InterfaceId, frames: u64) {
        let number = self.number_of(interface);
        let (seen, lost) = &mut self.counts[number];
        (*seen, *lost) = (*seen + frames, *lost + frames);
        self.gap = true;
    }

    fn add(&mut self, block: impl FnOnce(&mut PcapNgWriter<Vec<u8>>) -> PcapResult<usize>) -> bool {
        let added = block(&mut self.blocks);
        added.map_err(|error| self.fail(&io::Error::other(error))).is_ok()
    }
}

impl Observer for PcapNg {
    /// The bytes of the frames written, or what went wrong.
    type Word = Result<u64, Failure>;

    fn frame(&mut self, event: &TapEvent<'_>) {
        if self.failure.is_some() || matches!(self.destination, Destination::Awaited(_)) {
            self.count_lost(event.interface, 1);
            self.progress.step();
            return;
        }
        if self.gap {
            self.add_statistics();
        }
        self.last = event.at;
        let kept = &event.frame[..event.frame.len().min(SNAP_LENGTH as usize)];
        let direction = match event.direction {
            Direction::Received => INBOUND,
            Direction::Transmitted => OUTBOUND,
        };
        let number = self.number_of(event.interface);
        let packet = EnhancedPacketBlock {
            interface_id: number as u32,
            timestamp: event.at,
            original_len: event.frame.len() as u32,
            data: Cow::Borrowed(kept),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        if self.add(|blocks| blocks.write_pcapng_block(packet)) {
            self.counts[number].0 += 1;
            self.pending = (self.pending.0 + 1, self.pending.1 + event.frame.len() as u64);
        }
        if self.blocks.get_ref().len() >= BUFFER {
            self.write_out();
        }
    }

    fn lost(&mut self, interface: InterfaceId, frames: u64) {
        self.count_lost(interface, frames);
    }

    fn rest(&mut self) -> Option<Duration> {
        self.look();
        self.write_out();
        matches!(self.destination, Destination::Awaited(_)).then_some(LOOK)
    }

    fn end(&mut self) -> Self::Word {
        self.look();
        if matches!(self.destination, Destination::Awaited(_)) {
            self.failure.get_or_insert(Failure::Unread);
        }
        if self.failure.is_none() {
            self.add_statistics();
        }
        self.write_out();
        match &self.failure {
            None => Ok(self.written.1),
            Some(failure) => Err(failure.clone()),
        }
    }
}

fn begin(interfaces: &[&str]) -> PcapResult<PcapNgWriter<Vec<u8>>> {
    let section = SectionHeaderBlock {
        endianness: Endianness::native(),
        options: vec![
            SectionHeaderOption::OS(Cow::Borrowed("Linux")),
            SectionHeaderOption::UserApplication(Cow::Borrowed(concat!("xskip ", env!("CARGO_PKG_VERSION")))),
        ],
        ..SectionHeaderBlock::default()
    };
    let mut writer = PcapNgWriter::with_section_header(Vec::with_capacity(2 * BUFFER), section)?;
    for &interface in interfaces {
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: SNAP_LENGTH,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(interface.to_owned())),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
    }
    Ok(writer)
}

/// A timestamp is written as two words, the upper one first, whatever the order of octets in each (§4.6 as in §4.3); the crate writes
/// it as one number.
pub(super) fn as_two_words(timestamp: u64) -> u64 {
    if cfg!(target_endian = "little") { timestamp.rotate_left(32) } else { timestamp }
}
