//! `xskip show` and `xskip explain`: what runs, asked.

use super::{Failure, number, print};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use xskip_cli::show::{self, FOLDER, Flow, Piece, Query, Request, Text};

/// Which server.
#[derive(Debug, Args)]
#[group(skip)] // its name would be of no use to anybody
pub struct Where {
    /// Its control socket [default: the only one in /run/xskip]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// What is typed behind `xskip show`.
#[derive(Debug, Args)]
#[command(after_help = "Filters are those of ss, of words and comparisons, with and, or, not and parentheses:\n  \
    connections  state, src, dst, sport, dport, dev, worker, waits, recv-q, send-q, rtt, cwnd,\n               \
    in-flight, retrans, lost, idle\n  \
    listeners    src, sport, level, accepted, syns\n  \
    workers      worker, dev, busy, connections, memory\n  \
    drops        reason, layer, total, rate\n  \
    neighbours   dst, dev, state, worker, idle\n\
    src and sport are the server's end, dst and dport its peer's.\n\n\
    Examples:\n  \
    sudo xskip show connections state established and dst 198.18.0.0/24\n  \
    sudo xskip show connections '( sport = :80 or sport = :443 ) and rtt > 10ms' --sort retrans\n  \
    sudo xskip show connections waits window\n  \
    sudo xskip show workers --follow\n  \
    sudo xskip show drops --json | jq .reason")]
pub struct Show {
    /// What there is a list of
    #[arg(value_name = "LIST", value_enum)]
    list: List,

    /// Which rows of it are wanted [default: all]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,

    /// The most rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Sort by a number, the largest first: 100 rows, unless --limit says another number, up to 10000
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,

    /// Go on, once a second, with what has changed: connections that have begun or ended, drops that were counted, and other lists anew
    #[arg(long, conflicts_with_all = ["limit", "sort"])]
    follow: bool,

    /// For a program: one object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip explain`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sudo xskip explain 203.0.113.7:50123 198.18.0.1:80")]
pub struct Explain {
    /// One end of the flow, such as 203.0.113.7:50123 or [2001:db8::7]:50123
    #[arg(value_name = "SRC:PORT", value_parser = number::socket_address)]
    source: SocketAddr,

    /// The other end; either may be the server's
    #[arg(value_name = "DST:PORT", value_parser = number::socket_address)]
    destination: SocketAddr,

    /// For a program: one object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Where,
}

/// What there are lists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum List {
    /// Connections, as ss -ti has them, and handshakes that are remembered
    Connections,
    /// Listeners, how they are defended, and what has become of handshakes
    Listeners,
    /// Workers, and what they did within a second
    Workers,
    /// What was refused, why, and what it looks like
    Drops,
    /// Neighbours, as each worker knows them
    Neighbours,
}

impl From<List> for show::List {
    fn from(list: List) -> Self {
        match list {
            List::Connections => Self::Connections,
            List::Listeners => Self::Listeners,
            List::Workers => Self::Workers,
            List::Drops => Self::Drops,
            List::Neighbours => Self::Neighbours,
        }
    }
}

impl Where {
    /// Its socket.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        match &self.control {
            Some(path) => Ok(path.clone()),
            None => Ok(show::find(Path::new(FOLDER))?),
        }
    }
}

/// Asks for a list.
pub fn run(arguments: Show) -> Result<ExitCode, Failure> {
    let Show { list, filter, limit, sort, follow, json, which } = arguments;
    let query = Query { list: list.into(), filter: filter.join(" "), limit, sort, follow };
    let list = query.list;
    let path = which.path()?;
    let mut text = Text::new(Some(list), follow);
    let mut is_whole = false;
    for piece in show::ask(&path, &Request::Show(query))? {
        let piece = piece?;
        is_whole = matches!(piece, Piece::End(_));
        match (json, as_json(&piece)?) {
            (true, Some(object)) => print::result(object)?,
            (true, None) => {}
            (false, _) => {
                let lines = text.of(&piece);
                if let Some(lines) = lines.strip_suffix('\n') {
                    print::result(lines)?;
                }
            }
        }
    }
    if is_whole {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("the server at {} has ended, or was read too slowly: what was shown is not whole", path.display())
        .into())
}

/// A piece as an object of its own; nothing for what only orders the others.
fn as_json(piece: &Piece) -> Result<Option<Value>, Failure> {
    let event = |event: &str, of: Value| {
        let mut of = of;
        of["event"] = event.into();
        of
    };
    Ok(match piece {
        Piece::Connection(one) => Some(serde_json::to_value(one)?),
        Piece::Began(one) => Some(event("began", serde_json::to_value(one)?)),
        Piece::Ended(one) => Some(event("ended", serde_json::to_value(one)?)),
        Piece::Listener(one) => Some(serde_json::to_value(one)?),
        Piece::Handshakes(one) => Some(json!({ "handshakes": one })),
        Piece::Worker(one) => Some(serde_json::to_value(one)?),
        Piece::Drop(one) => Some(serde_json::to_value(one)?),
        Piece::Neighbour(one) => Some(serde_json::to_value(one)?),
        Piece::Explanation(one) => Some(serde_json::to_value(one)?),
        Piece::End(summary) => summary.counts.map(|counts| json!({ "counts": counts })),
        Piece::Picture(one) => Some(serde_json::to_value(one)?),
        Piece::Tick(_) => None,
    })
}

/// Asks about a flow.
pub fn explain(arguments: Explain) -> Result<ExitCode, Failure> {
    let Explain { source, destination, json, which } = arguments;
    let path = which.path()?;
    let asked = show::ask(&path, &Request::Explain(Flow { source, destination }))?;
    for piece in asked {
        let piece = piece?;
        match json {
            true => {
                if let Some(object) = as_json(&piece)? {
                    print::result(object)?;
                }
            }
            false => print::result(Text::new(None, false).of(&piece).trim_end())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
