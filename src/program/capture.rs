//! A capture of both directions, in pcapng (draft-ietf-opsawg-pcapng): for Wireshark, tshark and their kin.
//!
//! Workers never wait for the file. A thread of its own writes it, and where that cannot keep up, frames are lost: the file says how
//! many, in interface statistics, and so does the summary.

mod pcapng;

#[cfg(test)]
mod tests;

use self::pcapng::{Destination, Failure, PcapNg};
use crate::telemetry::lookout::{Ended, Lookout, Progress, Room};
use crate::worker::{Tap, TapEvent};
use std::{path::PathBuf, sync::Arc};
use thiserror::Error;

/// What may wait to be written, while as much again is being written: more than half a second at 100 Mbit/s.
const ROOM: Room = Room { frames: 1 << 17, octets: 8 << 20 };

/// Why a capture could not be written.
#[derive(Error)]
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
    #[error(
        "the capture file {} ends after {frames} frames, and {lost} are missing, because writing failed ({reason}): is the disk full?",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Frames written before.
        frames: u64,
        /// Frames seen after that.
        lost: u64,
        /// What went wrong.
        reason: String,
    },

    /// Nobody takes what is written.
    #[error(
        "the capture file {} ends after {frames} frames, and {lost} are missing, because nobody reads it: keep its reader at it until the end",
        path.display()
    )]
    Unread {
        /// The file.
        path: PathBuf,
        /// Frames written before.
        frames: u64,
        /// Frames seen after that.
        lost: u64,
    },
}

debug_as_display!(CaptureError);

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Frames, both directions together.
    pub frames: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// Frames that are missing, because they came faster than they could be written.
    pub lost: u64,
}

/// A capture file being written. Several workers may share it, and none of them ever waits for it.
pub struct Capture {
    path: PathBuf,
    lookout: Lookout<PcapNg>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Capture {
    /// Begins a capture of the traffic of these interfaces, named in the order in which they are served, in a new file, replacing an old
    /// one. Only its owner may read it: what is in there was sent to somebody. A link is not followed. Where the path is that of a FIFO,
    /// frames are lost until somebody reads it.
    ///
    /// # Errors
    /// [`CaptureError::Create`] or [`CaptureError::Link`].
    pub fn create(path: impl Into<PathBuf>, interfaces: &[&str]) -> Result<Self, CaptureError> {
        let path = path.into();
        let begin = || {
            let progress = Arc::<Progress>::default();
            let destination = Destination::open(&path, progress.clone())?;
            let observer = PcapNg::new(destination, interfaces, progress.clone());
            Lookout::post("xskip-capture", ROOM, progress, observer)
        };
        match begin() {
            Ok(lookout) => Ok(Self { path, lookout }),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(CaptureError::Link { path }),
            Err(source) => Err(CaptureError::Create { path, source }),
        }
    }

    /// Tells it that nothing else will come, so that [`Capture::finish`] has less to wait for.
    pub fn dismiss(&self) {
        self.lookout.dismiss();
    }

    /// Writes out what is buffered, as long as somebody takes it, and says what the file holds.
    ///
    /// # Errors
    /// [`CaptureError::Write`], for a failure now or at any time before; [`CaptureError::Unread`] where nobody has taken anything for
    /// a second.
    pub fn finish(&self) -> Result<CaptureSummary, CaptureError> {
        let Ended { word, frames, lost } = self.lookout.end();
        let path = self.path.clone();
        match word {
            Some(Ok(bytes)) => Ok(CaptureSummary { frames, bytes, lost }),
            Some(Err(Failure::Refused(reason))) => Err(CaptureError::Write { path, frames, lost, reason }),
            Some(Err(Failure::Unread)) | None => Err(CaptureError::Unread { path, frames, lost }),
        }
    }
}

impl Tap for Capture {
    fn frame(&self, event: &TapEvent<'_>) {
        self.lookout.show(event);
    }
}
