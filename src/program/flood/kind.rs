use std::{fmt, str::FromStr};

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// SYNs, with the options of real clients.
    Syn,
    /// Acknowledgments of connections that do not exist.
    Ack,
    /// RSTs of them.
    Rst,
    /// FINs of them.
    Fin,
    /// Data of them, of various lengths.
    Data,
    /// SYN-ACKs that nobody asked for.
    SynAck,
    /// All of the above in turn.
    Mixed,
    /// Segments that break a rule each: lengths, offsets, flags, options, checksums, fragments.
    Malformed,
}

impl FloodKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Syn, Self::Ack, Self::Rst, Self::Fin, Self::Data, Self::SynAck, Self::Mixed, Self::Malformed];
}

impl fmt::Display for FloodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Syn => "syn",
            Self::Ack => "ack",
            Self::Rst => "rst",
            Self::Fin => "fin",
            Self::Data => "data",
            Self::SynAck => "syn-ack",
            Self::Mixed => "mixed",
            Self::Malformed => "malformed",
        })
    }
}

impl FromStr for FloodKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is no kind of flood: name one of {}", names.join(", ")))
    }
}
