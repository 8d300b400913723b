//! What runs, shown: `xskip show` and `xskip explain`, from both ends of a control socket.
//!
//! A server, or a load, has a [`Watched`] answer at its socket; whoever wants to know [asks](ask) and hears a [`Piece`] a line. Nothing is
//! gathered as long as nobody asks, and neither side holds a list as a whole: filters are applied while it is gathered, beside the workers.
//!
//! ```no_run
//! use std::path::Path;
//! use xskip_cli::show::{List, Piece, Query, Request, ask};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let query = Query { filter: "state established and rtt > 10ms".to_owned(), ..Query::new(List::Connections) };
//! for piece in ask(Path::new("/run/xskip/eth0.sock"), &Request::Show(query))? {
//!     if let Piece::Connection(connection) = piece? {
//!         println!("{} is far away", connection.remote);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod filter;
mod follow;
mod place;
mod protocol;
mod row;
#[cfg(test)]
mod tests;
mod text;
mod unhappy;
mod watch;

pub use self::{
    answer::Watched,
    filter::{BadFilter, Filter},
    place::{FOLDER, FindError, default_path, find, make_folder},
    protocol::{Departure, Flow, List, Piece, Query, Request, SERVER, Summary, Tick, Watch, ask},
    row::{Field, Row},
    text::Text,
    unhappy::{Unhappy, UnhappyError, UnhappyFile},
    watch::INTERVALS,
};
