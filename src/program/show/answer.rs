//! What a server answers at its control socket: lists, gathered while they are said, on a thread of the client's own.

use super::{Filter, List, Piece, Query, Request, Row, Summary, Tick, filter::sort_field, follow, row::Field, watch};
use crate::{
    control::{Answers, Gone, Hearer},
    runtime::{Inspector, inspect::InspectError},
};
use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    ops::ControlFlow,
    time::{Duration, Instant as Clock},
};

/// What rates are about, and how often what is followed is looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How often whoever waits for rows hears that there is more to come, though nothing that is wanted was found.
const SIGN: Duration = Duration::from_secs(5);

/// A server, or a load, that tells of itself.
#[derive(Debug)]
pub struct Watched(Inspector);

impl Watched {
    /// One that is looked into like this.
    pub fn new(inspector: Inspector) -> Self {
        Self(inspector)
    }
}

/// Why an answer ends early.
pub(super) enum Stop {
    /// Nobody hears it.
    Gone(Gone),
    /// It cannot be given.
    Refused(String),
}

impl From<Gone> for Stop {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl From<InspectError> for Stop {
    fn from(error: InspectError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A row that is sorted by a number, the smallest first to go.
struct Sorted {
    by: f64,
    /// Among equals, the first stays.
    number: u64,
    piece: Piece,
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        other.by.total_cmp(&self.by).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted {}

/// Rows on their way to whoever has asked: those that are wanted, as many as are wanted, and in their order.
pub(super) struct Rows<'a, 'b, 'c> {
    pub hearer: &'a mut Hearer<'b, 'c>,
    filter: Filter,
    sort: Option<Field>,
    most: u64,
    seen: u64,
    said: u64,
    sorted: BinaryHeap<Sorted>,
    /// When the last sign was given.
    signed: Clock,
    gone: Option<Gone>,
}

impl<'a, 'b, 'c> Rows<'a, 'b, 'c> {
    pub fn new(query: &Query, hearer: &'a mut Hearer<'b, 'c>) -> Result<Self, Stop> {
        let refused = |error: super::BadFilter| Stop::Refused(error.to_string());
        let filter = Filter::parse(query.list, &query.filter).map_err(refused)?;
        let sort = query.sort.as_deref().map(|by| sort_field(query.list, by).map_err(refused)).transpose()?;
        let most = match (sort, query.limit) {
            (Some(_), limit) => limit.unwrap_or(Query::SORTED),
            (None, limit) => limit.unwrap_or(u64::MAX),
        };
        if sort.is_some() && most > Query::MOST_SORTED {
            return Err(Stop::Refused(format!(
                "{most} rows cannot be sorted: give a --limit up to {}, or leave out --sort",
                Query::MOST_SORTED
            )));
        }
        let (sorted, signed) = (BinaryHeap::new(), Clock::now());
        Ok(Self { hearer, filter, sort, most, seen: 0, said: 0, sorted, signed, gone: None })
    }

    pub fn wants(&self, row: &impl Row) -> bool {
        self.filter.accepts(row)
    }

    /// Takes a row; whether there may be more.
    pub fn take<R: Row>(&mut self, row: R, piece: impl FnOnce(R) -> Piece) -> ControlFlow<()> {
        if self.most == 0 {
            return ControlFlow::Break(());
        }
        if !self.filter.accepts(&row) {
            return ControlFlow::Continue(());
        }
        self.seen += 1;
        if let Some(field) = self.sort {
            // What has no such number comes last.
            let by = row.number(field).unwrap_or(f64::NEG_INFINITY);
            self.sorted.push(Sorted { by, number: self.seen, piece: piece(row) });
            if self.sorted.len() as u64 > self.most {
                self.sorted.pop();
            }
            return ControlFlow::Continue(());
        }
        self.say(&piece(row))
    }

    /// Takes rows until there are enough.
    fn take_all<R: Row>(&mut self, rows: impl IntoIterator<Item = R>, piece: impl Fn(R) -> Piece) {
        // What broke off is told in the end.
        let _ = rows.into_iter().try_for_each(|row| self.take(row, &piece));
    }

    /// Between two pieces of a list: whoever waits hears now and then that it goes on, and it is known whether anybody does.
    pub fn sign(&mut self) -> Result<(), Gone> {
        if self.signed.elapsed() < SIGN {
            return Ok(());
        }
        self.signed = Clock::now();
        self.hearer.keep()
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        match self.sign() {
            Ok(()) => ControlFlow::Continue(()),
            Err(gone) => {
                self.gone = Some(gone);
                ControlFlow::Break(())
            }
        }
    }

    fn say(&mut self, piece: &Piece) -> ControlFlow<()> {
        match self.hearer.say(piece) {
            Ok(()) => {
                self.said += 1;
                if self.said < self.most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Err(gone) => {
                self.gone = Some(gone);
                ControlFlow::Break(())
            }
        }
    }

    /// Says what was sorted. How many rows there were in all.
    pub fn end(&mut self) -> Result<u64, Stop> {
        for Sorted { piece, .. } in std::mem::take(&mut self.sorted).into_sorted_vec() {
            if self.say(&piece).is_break() {
                break;
            }
        }
        match self.gone {
            Some(gone) => Err(gone.into()),
            None => Ok(std::mem::take(&mut self.said)),
        }
    }
}

impl Answers for Watched {
    type Request = Request;

    fn answer(&self, request: Request, hearer: &mut Hearer<'_, '_>) -> Result<(), Gone> {
        let answered = match request {
            Request::Show(query) => self.show(&query, hearer),
            Request::Explain(flow) => self.explain(&flow, hearer),
            Request::Watch(how) => watch::pictures(&self.0, how, hearer),
        };
        match answered {
            Ok(()) => Ok(()),
            Err(Stop::Gone(gone)) => Err(gone),
            Err(Stop::Refused(why)) => hearer.refuse(why),
        }
    }
}

impl Watched {
    fn explain(&self, flow: &super::Flow, hearer: &mut Hearer<'_, '_>) -> Result<(), Stop> {
        let explanation = self.0.explain(flow.source, flow.destination)?;
        Ok(hearer.say(&Piece::Explanation(Box::new(explanation)))?)
    }

    fn show(&self, query: &Query, hearer: &mut Hearer<'_, '_>) -> Result<(), Stop> {
        let mut rows = Rows::new(query, hearer)?;
        match (query.list, query.follow) {
            (List::Connections, true) => return follow::connections(&self.0, &mut rows),
            (List::Workers | List::Drops, follow) => return self.rates(query.list, follow, &mut rows),
            (_, true) => return self.again(query.list, &mut rows),
            (_, false) => self.once(query.list, &mut rows)?,
        }
        let counts = (query.list == List::Connections).then(|| self.0.flow_counts()).transpose()?;
        let summary = Summary { rows: rows.end()?, counts };
        Ok(hearer.say(&Piece::End(summary))?)
    }

    /// A list that is what it is at one moment.
    fn once(&self, list: List, rows: &mut Rows<'_, '_, '_>) -> Result<(), Stop> {
        match list {
            List::Connections => {
                self.0.connections_by_piece(|piece| {
                    for one in piece {
                        rows.take(one, |one| Piece::Connection(Box::new(one)))?;
                    }
                    rows.go_on()
                })?;
            }
            List::Neighbours => self.0.neighbours(|one| rows.take(one, Piece::Neighbour))?,
            List::Listeners => {
                rows.take_all(self.0.listeners()?, Piece::Listener);
                let said = rows.end()?;
                rows.hearer.say(&Piece::Handshakes(self.0.handshakes()?))?;
                rows.said = said;
            }
            // They take two looks.
            List::Workers | List::Drops => {}
        }
        Ok(())
    }

    /// Once a second.
    fn again(&self, list: List, rows: &mut Rows<'_, '_, '_>) -> Result<(), Stop> {
        for number in 1.. {
            rows.hearer.say(&Piece::Tick(Tick { number, span_ms: 0 }))?;
            self.once(list, rows)?;
            rows.end()?;
            rows.hearer.wait(INTERVAL)?;
        }
        Ok(())
    }

    /// What workers did, or what was refused, between two looks.
    fn rates(&self, list: List, follow: bool, rows: &mut Rows<'_, '_, '_>) -> Result<(), Stop> {
        let mut earlier = self.0.sample()?;
        for number in 1.. {
            rows.hearer.wait(INTERVAL)?;
            let later = self.0.sample()?;
            if follow {
                let span_ms = u64::try_from(later.since(&earlier).as_millis()).unwrap_or(u64::MAX);
                rows.hearer.say(&Piece::Tick(Tick { number, span_ms }))?;
            }
            if list == List::Workers {
                rows.take_all(self.0.workers(&earlier, &later), |one| Piece::Worker(Box::new(one)));
            } else {
                let drops = self.0.drops(&earlier, &later)?;
                // What is followed is what has changed.
                let news = drops.into_iter().filter(|one| !follow || number == 1 || one.per_second > 0.0);
                rows.take_all(news, |one| Piece::Drop(Box::new(one)));
            }
            let said = rows.end()?;
            if !follow {
                rows.hearer.say(&Piece::End(Summary { rows: said, counts: None }))?;
                break;
            }
            earlier = later;
        }
        Ok(())
    }
}
