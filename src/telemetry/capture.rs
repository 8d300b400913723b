//! A capture of both directions, in pcapng (draft-ietf-opsawg-pcapng): for Wireshark, tshark and their kin.

#[cfg(test)]
mod tests;

use crate::worker::{Direction, Tap, TapEvent};
use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use std::{
    borrow::Cow,
    fs::{File, OpenOptions, Permissions},
    io::{BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use thiserror::Error;

/// Bytes written at a time.
const BUFFER: usize = 1 << 20;
/// The longest frame that is kept whole.
const SNAP_LENGTH: u32 = 65_535;
/// The mode of the file.
const OWNER_ONLY: u32 = 0o600;
/// `if_tsresol`: timestamps count 10^-9 s.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: the lowest two bits say which way a packet went.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Why a capture could not be written.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file could not be made.
    #[error("could not create the capture file {}: {source}; choose a path in a folder you may write to", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The path ends in a link.
    #[error("the capture file {} is a link, which might lead where nobody meant to write: name the file itself", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },

    /// Writing failed on the way.
    #[error("the capture file {} ends after {frames} frames, because writing failed ({reason}), and lacks {lost}: is the disk full?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Frames written before.
        frames: u64,
        /// Frames that came later.
        lost: u64,
        /// What went wrong.
        reason: String,
    },
}

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Frames, both directions together.
    pub frames: u64,
    /// Bytes of the frames.
    pub bytes: u64,
}

/// A capture file being written. Several workers may share it.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    writer: PcapNgWriter<BufWriter<File>>,
    summary: CaptureSummary,
    /// The first thing that went wrong; nothing is written after it.
    failure: Option<String>,
    /// Frames that came then.
    lost: u64,
}

impl Inner {
    /// Says at once, to whoever looks on, that the file ends here.
    fn fail(&mut self, path: &Path, reason: String) {
        if self.failure.is_none() {
            tracing::warn!(%reason, frames = self.summary.frames, "the capture file {} ends here", path.display());
            self.failure = Some(reason);
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("summary", &self.summary).field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl Capture {
    /// Begins a capture of `interface`'s traffic in a new file, replacing an old one. Only its owner may read it: what is in there
    /// was sent to somebody. A link is not followed.
    ///
    /// # Errors
    /// [`CaptureError::Create`] or [`CaptureError::Link`].
    pub fn create(path: impl Into<PathBuf>, interface: &str) -> Result<Self, CaptureError> {
        let path = path.into();
        let refused = |error| match error {
            PcapError::IoError(source) if source.raw_os_error() == Some(libc::ELOOP) => {
                CaptureError::Link { path: path.clone() }
            }
            PcapError::IoError(source) => CaptureError::Create { path: path.clone(), source },
            other => CaptureError::Create { path: path.clone(), source: std::io::Error::other(other) },
        };
        let writer = begin(&path, interface).map_err(refused)?;
        let summary = CaptureSummary { frames: 0, bytes: 0 };
        Ok(Self { path, inner: Mutex::new(Inner { writer, summary, failure: None, lost: 0 }) })
    }

    /// Writes out what is buffered and says what the file holds.
    ///
    /// # Errors
    /// [`CaptureError::Write`], for a failure now or at any time before.
    pub fn finish(&self) -> Result<CaptureSummary, CaptureError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = inner.writer.get_mut().flush() {
            inner.fail(&self.path, error.to_string());
        }
        match &inner.failure {
            None => Ok(inner.summary),
            Some(reason) => Err(CaptureError::Write {
                path: self.path.clone(),
                frames: inner.summary.frames,
                lost: inner.lost,
                reason: reason.clone(),
            }),
        }
    }
}

/// A file for nobody else to read, also where it was there before with another mode. What is no file, such as a FIFO, keeps its own.
fn create(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(file)
}

fn begin(path: &Path, interface: &str) -> Result<PcapNgWriter<BufWriter<File>>, PcapError> {
    let file = BufWriter::with_capacity(BUFFER, create(path).map_err(PcapError::IoError)?);
    let section = SectionHeaderBlock {
        endianness: Endianness::native(),
        options: vec![
            SectionHeaderOption::OS(Cow::Borrowed("Linux")),
            SectionHeaderOption::UserApplication(Cow::Borrowed(concat!("xskip ", env!("CARGO_PKG_VERSION")))),
        ],
        ..SectionHeaderBlock::default()
    };
    let mut writer = PcapNgWriter::with_section_header(file, section)?;
    writer.write_pcapng_block(InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: SNAP_LENGTH,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(interface.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    })?;
    Ok(writer)
}

impl Tap for Capture {
    fn frame(&self, event: &TapEvent<'_>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failure.is_some() {
            inner.lost += 1;
            return;
        }
        let kept = &event.frame[..event.frame.len().min(SNAP_LENGTH as usize)];
        let direction = match event.direction {
            Direction::Received => INBOUND,
            Direction::Transmitted => OUTBOUND,
        };
        let written = inner.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: event.at,
            original_len: event.frame.len() as u32,
            data: Cow::Borrowed(kept),
            options: vec![EnhancedPacketOption::Flags(direction)],
        });
        match written {
            Ok(_) => {
                inner.summary.frames += 1;
                inner.summary.bytes += event.frame.len() as u64;
            }
            Err(error) => {
                inner.lost += 1;
                inner.fail(&self.path, error.to_string());
            }
        }
    }
}
