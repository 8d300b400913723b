//! A gRPC service that says what it is told: `cargo run --features aio --example grpc -- veth0 198.18.0.1/24`. tonic speaks gRPC and hyper
//! HTTP/2. What a compiler makes of a .proto file is written by hand here: the message, the name of the method, and how it is called.

use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use std::{convert::Infallible, future::pending, io, time::Duration};
use tokio::sync::Notify;
use tonic::{Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use xskip::{
    Server,
    aio::{self, HyperExecutor, HyperTimer, TcpListener, TcpStream},
};

/// How long a client may take for its first call, and to answer a ping of HTTP/2.
const PATIENCE: Duration = Duration::from_secs(60);

/// `message Text { string text = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// What is said.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// `package xskip; service Echo { rpc Say (Text) returns (Text); }`
pub const SAY: &str = "/xskip.Echo/Say";

/// What the method does: one message comes, one goes.
struct Say;

impl tonic::server::UnaryService<Text> for Say {
    type Response = Text;
    type Future = std::future::Ready<Result<tonic::Response<Text>, Status>>;

    fn call(&mut self, request: tonic::Request<Text>) -> Self::Future {
        let Text { text } = request.into_inner();
        let nothing = || Status::invalid_argument("there is nothing to say");
        std::future::ready((!text.is_empty()).then(|| tonic::Response::new(Text { text })).ok_or_else(nothing))
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        SAY => Grpc::new(ProstCodec::default()).unary(Say, request).await,
        _ => Status::unimplemented("there is no such method").into_http(),
    })
}

/// Speaks with one client until either has had enough.
async fn converse(stream: TcpStream, patience: Duration) {
    let mut http = http2::Builder::new(HyperExecutor);
    http.timer(HyperTimer).keep_alive_interval(patience).keep_alive_timeout(patience);
    let first = Notify::new();
    let answer = service_fn(|request| {
        first.notify_one();
        answer(request)
    });
    // Pings begin with the client's preface.
    let silence = async {
        if aio::timeout(patience, first.notified()).await.is_ok() {
            pending().await
        }
    };
    tokio::select! { _ = http.serve_connection(stream, answer) => {}, () = silence => {} }
}

/// Serves on one worker: a task for each connection, and one for each call.
pub async fn serve(patience: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(50_051)?;
    loop {
        let (stream, _) = listener.accept().await?;
        aio::spawn_local(converse(stream, patience));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    Server::on(interface).address(address.parse()?).run_async(|| serve(PATIENCE))?;
    Ok(())
}
