//! `bench bare`: a bare axum route that answers with ready bytes, as the limit of the HTTP door.
//!
//! The bytes are a running chatshard's list of the first user, with the same headers. What chatshard
//! takes longer is its own work: who asks, the question to the shard, the JSON.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::{Bytes, BytesMut};
use clap::Args;
use tokio::net::TcpListener;

use super::data::{Data, DataArgs};
use super::wire::http::{self, Http};
use super::wire::{Look, Wire, read_reply};
use super::work::LoadRequest;
use crate::cli::Failure;
use crate::cli::failure::tell;

/// How long the server that is copied may take.
const LIKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `bench bare`.
#[derive(Debug, Clone, Args)]
pub struct BareArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7781")]
    pub listen: SocketAddr,
    /// The HTTP door of a chatshard that `bench fill` has filled
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7780")]
    pub like: String,
    /// How much data there is
    #[command(flatten)]
    pub data: DataArgs,
}

/// Serves until it is ended.
pub async fn run(args: BareArgs) -> Result<(), Failure> {
    let body = list_of(&args.like, Data::new(args.data)?);
    let body = body.map_err(|why| Failure::new(format!("{}: {why}", args.like)))?;
    let answer = move || async move {
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body)
    };
    let router = Router::new().route("/chat/mine-list", post(answer));
    let failed = |error| Failure::new(format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    tell(format_args!("bare: listening on {}", listener.local_addr().map_err(failed)?));
    // A socket that refuses is a slower one, and no reason to end.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.map_err(failed)
}

/// The body of the first user's list.
fn list_of(addr: &str, data: Data) -> Result<Bytes, String> {
    let mut stream = std::net::TcpStream::connect(addr).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(LIKE_TIMEOUT)).map_err(|error| error.to_string())?;
    let mut wire = Http::new(data, Look::Check { with_deletes: false });
    let mut out = BytesMut::new();
    wire.encode(LoadRequest::List { user: 0 }, 1, &mut out);
    stream.write_all(&out).map_err(|error| error.to_string())?;
    let mut input = BytesMut::new();
    let cut = read_reply(&mut wire, &mut stream, &mut input)?;
    match cut.fault {
        Some(fault) => Err(fault),
        None => Ok(Bytes::copy_from_slice(http::body(&input)?)),
    }
}
