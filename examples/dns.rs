//! A name server for a few names: `cargo run --features aio --example dns -- veth0 198.18.0.1/24`, then
//! `dig @198.18.0.1 www.xskip.test AAAA` from the other end. hickory reads and writes messages, and a UDP socket carries them.

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record},
};
use std::{io, net::IpAddr};
use xskip::{Server, aio::UdpSocket};

/// What there is to know, here for a minute each.
const NAMES: [(&str, &str); 4] = [
    ("www.xskip.test.", "192.0.2.80"),
    ("www.xskip.test.", "2001:db8::80"),
    ("four.xskip.test.", "192.0.2.4"),
    ("six.xskip.test.", "2001:db8::6"),
];
const TTL: u32 = 60;

/// Whether the name is known, and the records that were asked for.
fn look_up(query: &Query) -> (bool, Vec<Record>) {
    let is_it = |name: &str| Name::from_ascii(name).is_ok_and(|name| name == query.name);
    let data = |address: &str| address.parse::<IpAddr>().ok().map(RData::from);
    let known: Vec<_> = NAMES.iter().filter(|(name, _)| is_it(name)).filter_map(|(_, address)| data(address)).collect();
    let (is_known, wanted) = (!known.is_empty(), query.query_type);
    let records = known.into_iter().filter(|data| data.record_type() == wanted);
    (is_known, records.map(|data| Record::from_rdata(query.name.clone(), TTL, data)).collect())
}

/// The answer to a datagram; none to what is no question, so that two servers never go on answering each other.
fn answer(datagram: &[u8]) -> Option<Vec<u8>> {
    let question =
        Message::from_vec(datagram).ok().filter(|message| message.metadata.message_type == MessageType::Query)?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.metadata.authoritative = true;
    answer.add_queries(question.queries.iter().cloned());
    answer.metadata.response_code = match question.queries.as_slice() {
        _ if question.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [query] if query.query_class == DNSClass::IN => {
            let (is_known, records) = look_up(query);
            answer.add_answers(records);
            if is_known { ResponseCode::NoError } else { ResponseCode::NXDomain }
        }
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
