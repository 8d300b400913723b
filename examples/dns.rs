//! A name server for a few names: `cargo run --features aio --example dns -- veth0 198.18.0.1/24`, then
//! `dig @198.18.0.1 www.xskip.test AAAA` from the other end. hickory reads and writes messages, and a UDP socket carries them.

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, rdata::SOA},
};
use std::{io, net::IpAddr};
use xskip::{Server, aio::UdpSocket};

/// What this server answers for.
const ZONE: &str = "xskip.test.";
/// What there is to know, for a minute each.
const NAMES: [(&str, &str); 4] = [
    ("www.xskip.test.", "192.0.2.80"),
    ("www.xskip.test.", "2001:db8::80"),
    ("four.xskip.test.", "192.0.2.4"),
    ("six.xskip.test.", "2001:db8::6"),
];
const TTL: u32 = 60;

/// What there is of a name of the zone; nothing where there is no such name.
fn look_up(name: &Name, zone: &Name, start: &SOA) -> Vec<RData> {
    let is_it = |known: &str| Name::from_ascii(known).is_ok_and(|known| known == *name);
    let data = |address: &str| address.parse::<IpAddr>().ok().map(RData::from);
    let addresses = NAMES.iter().filter(|(known, _)| is_it(known)).filter_map(|(_, address)| data(address));
    addresses.chain((name == zone).then(|| RData::SOA(start.clone()))).collect()
}

/// Answers with what was asked for, or with how long it may be kept that there is no such thing (RFC 2308 §3).
fn fill(answer: &mut Message, Query { name, query_type, .. }: &Query) -> ResponseCode {
    let Ok(zone) = Name::from_ascii(ZONE) else { return ResponseCode::ServFail };
    if !zone.zone_of(name) {
        return ResponseCode::Refused;
    }
    answer.metadata.authoritative = true;
    let start = SOA::new(zone.clone(), zone.clone(), 1, 3_600, 600, 86_400, TTL);
    let known = look_up(name, &zone, &start);
    let wanted = known.iter().filter(|data| data.record_type() == *query_type).cloned();
    answer.add_answers(wanted.map(|data| Record::from_rdata(name.clone(), TTL, data)));
    if answer.answers.is_empty() {
        answer.add_authority(Record::from_rdata(zone, TTL, RData::SOA(start)));
    }
    if known.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError }
}

/// The answer to a datagram; none to what is no question, so that two servers never go on answering each other.
fn answer(datagram: &[u8]) -> Option<Vec<u8>> {
    let question =
        Message::from_vec(datagram).ok().filter(|message| message.metadata.message_type == MessageType::Query)?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.add_queries(question.queries.iter().cloned());
    answer.metadata.response_code = match question.queries.as_slice() {
        _ if question.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [query] if query.query_class == DNSClass::IN => fill(&mut answer, query),
        [_] => ResponseCode::Refused,
        _ => ResponseCode::FormErr,
    };
    answer.to_vec().ok()
}

/// Serves on one worker. The answer comes from the address that was asked.
pub async fn serve() -> io::Result<()> {
    let (socket, mut data) = (UdpSocket::bind(53)?, Vec::new());
    loop {
        let (local, client) = socket.recv(&mut data).await?;
        if let Some(answer) = answer(&data) {
            // Who cannot be answered asks again, or has gone.
            socket.send_from(local.ip(), &answer, client).await.unwrap_or_else(|error| eprintln!("{client}: {error}"));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    Server::on(interface).address(address.parse()?).run_async(serve)?;
    Ok(())
}
