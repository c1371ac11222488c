//! `bench bare`: a bare axum route that replies with prepared bytes, to compare the HTTP door with.
//!
//! The bytes are the first user's list, fetched from a running chatshard, with the same headers.
//! The time that chatshard takes beyond this is its own work: to identify the caller, to ask the
//! shard, and to write JSON.

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

/// Longest wait for the server from which the list is fetched.
const LIKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `bench bare`: its address, and the server to copy.
#[derive(Debug, Clone, Args)]
pub struct BareArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7781")]
    pub listen: SocketAddr,
    /// HTTP door of a chatshard that `bench fill` has filled
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7780")]
    pub like: String,
    /// The size of the data in that server.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Serves the prepared list until the process is ended.
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
    // Nagle's algorithm would only make the socket slower, so an error here does not matter.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.map_err(failed)
}

/// Fetches the first user's list from the server at `addr`. Returns the body of the answer.
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
