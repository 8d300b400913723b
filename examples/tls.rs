//! HTTPS by rustls: `cargo run --example tls -- veth0 198.18.0.1/24 cert.pem key.pem`, then `curl -k https://198.18.0.1/` from the
//! other end. rustls reads and writes a stream as it would a socket that never blocks.

use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    path::Path,
    sync::Arc,
};
use xskip::{ConnectionId, Context, Server, Service, Stream, app::Origin};

/// Octets of plain text that wait for room at most.
const BUFFER: usize = 64 << 10;

/// The server.
pub struct Https(Arc<ServerConfig>);

/// A TLS connection, the request so far, what is left of the answer, and whether there is nothing to say behind it.
pub struct Session {
    tls: ServerConnection,
    request: Vec<u8>,
    answer: Option<(Vec<u8>, usize)>,
    is_over: bool,
}

/// What a server with this certificate and key is made from.
pub fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder().with_no_client_auth();
    Ok(Arc::new(config.with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?))
}

impl Https {
    /// One for each worker.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(config)
    }
}

impl Session {
    /// Reads, answers and writes as much as can be. Whether the connection is through.
    fn advance(&mut self, stream: &mut Stream<'_>) -> io::Result<bool> {
        loop {
            let has_written = self.write(stream)?;
            match self.tls.read_tls(stream) {
                Ok(0) => return Ok(true),
                Ok(_) => {
                    let processed = self.tls.process_new_packets();
                    self.write(stream)?; // an alert, where that failed
                    processed.map_err(io::Error::other)?;
                    self.read()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !has_written {
                        return Ok(self.is_over && !self.tls.wants_write());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Plain text in; the answer, once a request is whole.
    fn read(&mut self) -> io::Result<()> {
        match self.tls.reader().read_to_end(&mut self.request) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => {}
            Err(error) => return Err(error),
        }
        if self.request.len() > 8_192 {
            return Err(ErrorKind::InvalidData.into());
        }
        if self.answer.is_none() && !self.is_over && self.request.ends_with(b"\r\n\r\n") {
            let path = String::from_utf8_lossy(&self.request).split(' ').nth(1).unwrap_or_default().to_owned();
            let length = path.trim_start_matches('/').parse().unwrap_or(12).min(200_000_000);
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + length, b'.');
            self.answer = Some((answer, 0));
        }
        Ok(())
    }

    /// What is left of the answer, into records, and those into the stream. Whether anything was written.
    fn write(&mut self, stream: &mut Stream<'_>) -> io::Result<bool> {
        let mut has_written = false;
        loop {
            if let Some((answer, at)) = &mut self.answer {
                *at += self.tls.writer().write(&answer[*at..])?;
                if *at == answer.len() {
                    (self.answer, self.is_over) = (None, true);
                    self.tls.send_close_notify();
                }
            }
            if !self.tls.wants_write() {
                return Ok(has_written);
            }
            match self.tls.write_tls(stream) {
                Ok(_) => has_written = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(has_written),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Service for Https {
    type Session = Session;

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) -> Session {
        let mut tls = ServerConnection::new(self.0.clone()).expect("a configuration that is good once is good again");
        tls.set_buffer_limit(Some(BUFFER));
        Session { tls, request: Vec::new(), answer: None, is_over: false }
    }

    fn ready(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        match session.advance(&mut stream) {
            Ok(false) => {}
            Ok(true) | Err(_) => stream.close_discarding(),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, certificate, key] = <[String; 5]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, a certificate and its key, both in PEM")?;
    let config = config(certificate.as_ref(), key.as_ref())?;
    Server::on(interface).address(address.parse()?).port(443).run(move || Https::new(config.clone()))?;
    Ok(())
}
