//! What becomes of a frame of a service in mode `nat`, octet by octet: the model of `bpf/translate.h`.

use super::{
    super::{
        backend::{BackendId, Mode, Number, ServiceId},
        balancer::Balancer,
        decide::{Decision, Refusal, Why},
        flow::Kind,
        forward::{Carried, Forwarded, Obstacle, Way, carry, pass_on},
        sight::Sight,
        time_window::Tick,
    },
    flow::NatFlow,
    rewrite::{rewrite, transport_at},
    table::{NatTable, NoFlow, Opening},
};
use crate::{
    time::Instant,
    wire::{Endpoint, MacAddress},
};
use std::net::IpAddr;

/// Where a frame came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// In which VLAN, if it is served there.
    pub vlan: Option<u16>,
    /// By the interface with this index.
    pub interface: u32,
    /// On which CPU.
    pub cpu: u32,
}

impl Balancer {
    /// As [`Balancer::forward`], where flows of services in mode `nat` are in this table.
    pub fn translate(
        &mut self,
        nat: NatTable<'_>,
        frame: &[u8],
        arrival: Arrival,
        way: impl Fn(BackendId) -> Option<Way>,
        now: Instant,
    ) -> Forwarded {
        let Some(sight) = Sight::of(frame, arrival.vlan.unwrap_or(0)) else { return Forwarded::NotOurs };
        if let Some(source) = nat.settings().number_of(sight.destination) {
            return answer(nat, frame, &sight, source, Tick::of(now));
        }
        let is_nat = |id: ServiceId| self.served(id).is_some_and(|served| served.config.mode == Mode::Nat);
        if !self.find_service(&sight.flow).is_some_and(is_nat) {
            return self.forward(frame, arrival.vlan, way, now);
        }
        if sight.kind == Kind::Fragment && !sight.is_malformed {
            return Forwarded::Refused(Refusal::Fragment);
        }
        // An IPv4 address in IPv6 is nobody's (RFC 4942 section 2.2).
        let is_mapped = matches!(sight.flow.tuple.remote.address, IpAddr::V6(it) if it.to_ipv4_mapped().is_some());
        if sight.is_malformed || is_mapped || sight.kind != Kind::Error && transport_at(frame, &sight).is_none() {
            return Forwarded::Hindered(Obstacle::Malformed);
        }
        let (number, why) = match self.flow_of(nat, frame, &sight, arrival, now) {
            Ok(found) => found,
            Err(nowhere) => return nowhere,
        };
        let Some(flow) = nat.get(number) else { return Forwarded::Refused(Refusal::Unknown) };
        let Some(backend) = backend_of(&flow) else { return Forwarded::Hindered(Obstacle::NoWay) };
        let Some(way) = way(backend).filter(|way| way.mtu >= Way::MIN_MTU) else {
            return Forwarded::Hindered(Obstacle::NoWay);
        };
        let source = nat.settings().source(flow.source).unwrap_or(way.source);
        match carry(frame, &sight, &way, None) {
            Ok(Carried::On(mut frame)) => {
                rewrite(&mut frame, &sight, Endpoint { address: source, port: flow.port }, flow.backend);
                Forwarded::Sent { backend, why, interface: way.interface, frame }
            }
            Ok(Carried::Back(frame)) => Forwarded::Told(frame),
            Err(obstacle) => Forwarded::Hindered(obstacle),
        }
    }

    /// The flow of a client's packet, which is opened where that may open one; or what becomes of it otherwise.
    fn flow_of(
        &mut self,
        nat: NatTable<'_>,
        frame: &[u8],
        sight: &Sight,
        arrival: Arrival,
        now: Instant,
    ) -> Result<(u32, Why), Forwarded> {
        let (flow, kind) = (sight.flow, sight.kind);
        let hash = self.key.hash(&flow, false);
        let opens = matches!(kind, Kind::Syn(_) | Kind::Datagram);
        let link = |at: usize| MacAddress(std::array::from_fn(|octet| frame[at + octet]));
        let (station, ours) = (link(6), link(0));
        if let Some(number) = nat.find(hash, flow.transport, flow.tuple.remote, flow.tuple.local) {
            let known = nat.get(number).ok_or(Forwarded::Refused(Refusal::Unknown))?;
            if let Some((backend, resets)) = self.where_it_stays(&known, kind) {
                if resets && matches!(kind, Kind::Segment(_) | Kind::Fin(_)) {
                    return Err(Forwarded::Reset(backend));
                }
                if kind != Kind::Error {
                    nat.hear(number, kind, false, Tick::of(now));
                    nat.learn_way(number, arrival.interface, station, ours);
                }
                return Ok((number, Why::Remembered));
            }
            if opens {
                nat.release(number);
            }
        }
        if !opens {
            let is_reset = matches!(kind, Kind::Segment(_) | Kind::Fin(_));
            return Err(if is_reset { Forwarded::Unknown } else { Forwarded::Refused(Refusal::Unknown) });
        }
        let (id, why) = match self.decide(&flow, kind, now) {
            Decision::Forward(id, why) => (id, why),
            Decision::Reset(backend) => return Err(Forwarded::Reset(backend)),
            Decision::Drop(refusal) => return Err(Forwarded::Refused(refusal)),
        };
        let mut backend = self.address(id).ok_or(Forwarded::Refused(Refusal::NoBackend))?;
        if backend.port == 0 {
            backend.port = flow.tuple.local.port; // a service of every port has backends of the same
        }
        let opening = Opening {
            hash,
            cpu: arrival.cpu,
            tick: Tick::of(now),
            transport: flow.transport,
            client: flow.tuple.remote,
            service: flow.tuple.local,
            backend,
            id,
            interface: arrival.interface,
            station,
            ours,
        };
        match nat.open(&opening) {
            Ok(number) => Ok((number, why)),
            Err(NoFlow::NoPort) => Err(Forwarded::Refused(Refusal::NoPort)),
            Err(NoFlow::Full) => Err(Forwarded::Refused(Refusal::NatFull)),
        }
    }

    /// The backend of a flow if it goes on there, and whether that one's flows are reset. A handshake, or a datagram, may as
    /// well begin elsewhere.
    fn where_it_stays(&self, flow: &NatFlow, kind: Kind) -> Option<(BackendId, bool)> {
        let id = backend_of(flow)?;
        let slot = self.served(id.service)?.slot(id.number);
        if !slot.is_live || slot.address.address != flow.backend.address {
            return None;
        }
        // What begins goes to the port that a backend has now.
        let port = if slot.address.port == 0 { flow.service.port } else { slot.address.port };
        let is_its_port = port == flow.backend.port;
        let stays = match kind {
            Kind::Syn(_) if flow.is_opening() || flow.is_closing() => is_its_port && slot.takes_new,
            Kind::Datagram => is_its_port && !slot.is_down(),
            _ => true,
        };
        stays.then_some((id, slot.resets))
    }
}

fn backend_of(flow: &NatFlow) -> Option<BackendId> {
    let number = Number::new(flow.backend_number)?;
    Some(BackendId { service: ServiceId(flow.service_number.into()), number })
}

/// A packet for an address that flows come from.
fn answer(nat: NatTable<'_>, frame: &[u8], sight: &Sight, source: u8, tick: Tick) -> Forwarded {
    let (kind, tuple) = (sight.kind, sight.flow.tuple);
    let is_whole = kind != Kind::Fragment && (kind == Kind::Error || transport_at(frame, sight).is_some());
    if sight.is_malformed || !is_whole {
        return Forwarded::NotOurs;
    }
    let number = nat.find_answer(source, tuple.local.port, sight.flow.transport, tuple.remote);
    let Some((number, flow)) = number.and_then(|number| Some((number, nat.get(number)?))) else {
        return Forwarded::NotOurs;
    };
    if kind != Kind::Error && !nat.hear(number, kind, true, tick) {
        return Forwarded::NotOurs;
    }
    let mut frame = frame.to_vec();
    if let Err(obstacle) = pass_on(&mut frame[sight.ip_offset..], sight.destination.is_ipv4()) {
        return Forwarded::Hindered(obstacle);
    }
    rewrite(&mut frame, sight, flow.service, flow.client);
    frame[..6].copy_from_slice(&flow.station.0);
    frame[6..12].copy_from_slice(&flow.ours.0);
    Forwarded::Answered { interface: flow.interface, frame }
}
