use std::{fmt, str::FromStr};

/// What is done with the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests on connections that stay open.
    Keepalive,
    /// A connection for each request.
    Connect,
    /// As many bytes as will go.
    Bulk,
    /// Nothing: they are there.
    Idle,
    /// 64 bytes there and back, again and again.
    Latency,
}

impl Mode {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Keepalive, "keepalive"),
        (Self::Connect, "connect"),
        (Self::Bulk, "bulk"),
        (Self::Idle, "idle"),
        (Self::Latency, "latency"),
    ];
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::ALL.iter().filter(|(mode, _)| mode == self).try_for_each(|(_, name)| f.write_str(name))
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found
            .map(|(mode, _)| *mode)
            .ok_or_else(|| format!("{text:?} is no mode: choose keepalive, connect, bulk, idle or latency"))
    }
}

/// Which way the bytes of [`Mode::Bulk`] go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// To us.
    #[default]
    Download,
    /// From us.
    Upload,
    /// Both ways at once.
    Both,
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "download" => Ok(Self::Download),
            "upload" => Ok(Self::Upload),
            "both" => Ok(Self::Both),
            _ => Err(format!("{text:?} is no direction: choose download, upload or both")),
        }
    }
}
