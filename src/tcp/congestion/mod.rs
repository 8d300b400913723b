//! How much may be in flight. One small trait, so that a controller joins without touching anything else.

pub mod reno;

pub use reno::Reno;

/// A congestion controller. All amounts are octets.
///
/// It decides the window alone: which segments are lost is the business of `recovery`, what is sent next that of
/// `transmit`.
pub trait Controller {
    /// The congestion window.
    fn window(&self) -> u32;

    /// New data were acknowledged outside recovery. `limited` says whether the window was what held the sender back;
    /// where it was not, it has not been tested and must not grow (RFC 5681 §3.1, RFC 7661).
    fn acknowledged(&mut self, octets: u32, limited: bool);

    /// A segment was found lost by duplicate acknowledgments, with `in_flight` outstanding: recovery begins.
    fn lost(&mut self, in_flight: u32);

    /// The retransmission timer expired with `in_flight` outstanding; `first` unless for a segment sent again already.
    fn timed_out(&mut self, in_flight: u32, first: bool);

    /// Nothing was sent for a whole retransmission timeout (RFC 5681 §4.1).
    fn idled(&mut self);
}
