//! The qdisc `clsact` and its filters (tc(8)): programs in front of what an interface receives and sends, on kernels without tcx.

use super::{HostError, Link, rtnl::Rtnl};
use netlink_packet_route::{
    RouteNetlinkMessage as Request,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

/// What is attached by way of the qdisc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clsact {
    /// In the order in which they run: filters before what is received.
    pub ingress: Vec<Filter>,
    /// How many there are before what is sent.
    pub egress: usize,
}

/// A filter before what is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its number among those of its priority.
    pub handle: u32,
    /// Lower ones run first.
    pub priority: u32,
    /// The id of its BPF program, where it is one.
    pub program: Option<u32>,
}

impl Clsact {
    /// What an interface of the calling thread's network namespace has; none where it has no such qdisc. The older qdisc `ingress`
    /// counts as well: filters are attached to it in the same way.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn read(link: &Link) -> Result<Option<Self>, HostError> {
        let mut rtnl = Rtnl::open()?;
        let qdiscs = rtnl.list("list the qdiscs", Request::GetQueueDiscipline(TcMessage::default()), |message| {
            let Request::NewQueueDiscipline(message) = message else { return None };
            (message.header.index == link.index as i32 && kind(&message).is_some_and(is_clsact)).then_some(())
        })?;
        if qdiscs.is_empty() {
            return Ok(None);
        }
        let ingress = filters(&mut rtnl, link, TcHandle::MIN_INGRESS)?;
        let egress = filters(&mut rtnl, link, TcHandle::MIN_EGRESS)?.len();
        Ok(Some(Self { ingress, egress }))
    }

    /// Whether nothing is attached.
    pub fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.egress == 0
    }
}

fn is_clsact(kind: &str) -> bool {
    ["clsact", "ingress"].contains(&kind)
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

fn filters(rtnl: &mut Rtnl, link: &Link, direction: u16) -> Result<Vec<Filter>, HostError> {
    let mut request = TcMessage::with_index(link.index as i32);
    request.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor: direction };
    rtnl.list("list the filters", Request::GetTrafficFilter(request), |message| match message {
        Request::NewTrafficFilter(message) => filter(&message),
        _ => None,
    })
}

/// The kernel says of each priority that it is there, without a handle, before it says what is in it.
fn filter(message: &TcMessage) -> Option<Filter> {
    let handle = u32::from(message.header.handle);
    let options = message.attributes.iter().flat_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.as_slice(),
        _ => &[],
    });
    let program = options.into_iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    });
    (handle != 0).then_some(Filter { handle, priority: message.header.info >> 16, program })
}
