//! HTTPS: `cargo run --features aio --example https -- veth0 198.18.0.1/24`, then `curl -k https://198.18.0.1/` from the other end.
//! rustls speaks TLS, and hyper HTTP/2 or HTTP/1.1, whichever client and server agree on (ALPN, RFC 7301). The certificate is made at start,
//! and signed by nobody but itself.

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::{convert::Infallible, error::Error, future::pending, io, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use xskip::{
    Server,
    aio::{self, HyperExecutor, HyperTimer, TcpListener, TcpStream},
};

/// How long a client may take for its handshake, for its first request, for the headers of each, and to answer a ping of HTTP/2.
const PATIENCE: Duration = Duration::from_secs(10);

/// What accepts TLS with this certificate, and offers both versions of HTTP.
pub fn acceptor(certified: &CertifiedKey<KeyPair>) -> Result<TlsAcceptor, Box<dyn Error>> {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certified.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(format!("hello by {:?}\n", request.version()).into()))
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    patience: Duration,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tls = aio::timeout(patience, acceptor.accept(stream)).await??;
    let mut http = auto::Builder::new(HyperExecutor);
    http.http1().timer(HyperTimer).header_read_timeout(patience);
    http.http2().timer(HyperTimer).keep_alive_interval(patience).keep_alive_timeout(patience);
    let first = Notify::new();
    let answer = service_fn(|request| {
        first.notify_one();
        answer(request)
    });
    // hyper's own limits begin later: for a version of HTTP that is known, or a preface that has come.
    let silence = async {
        if aio::timeout(patience, first.notified()).await.is_ok() {
            pending().await
        }
    };
    tokio::select! {
        ended = http.serve_connection(TokioIo::new(tls), answer) => ended,
        () = silence => Err("it was silent for too long".into()),
    }
}

/// Serves on one worker. Who speaks no TLS, or no HTTP, has been told so; that ends nobody else.
pub async fn serve(acceptor: TlsAcceptor, patience: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(443)?;
    loop {
        let (stream, _) = listener.accept().await?;
        aio::spawn_local(converse(stream, acceptor.clone(), patience));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    let acceptor = acceptor(&rcgen::generate_simple_self_signed(["localhost".to_owned()])?)?;
    Server::on(interface).address(address.parse()?).run_async(move || serve(acceptor.clone(), PATIENCE))?;
    Ok(())
}
