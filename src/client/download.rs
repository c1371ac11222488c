//! Reads a long answer of another node's admin listener, piece by piece.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::stream::connect;
use super::{Address, ClientTls};

/// How long connecting may take, and then each wait for bytes. Another member may have the data, so
/// one that stands still is soon left.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that says what is wrong.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// An answer whose body is read piece by piece. It ends with this value.
#[derive(Debug)]
pub(crate) struct Download {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// Sends `GET path` to an admin listener, and waits for the head of the answer.
///
/// # Errors
/// In words, if the listener cannot be reached or does not answer.
pub(crate) async fn get(
    address: &Address,
    tls: Option<&ClientTls>,
    token: Option<&str>,
    path: &str,
) -> Result<Download, String> {
    let silent = |_| format!("{address} does not answer");
    let connected = timeout(CONNECT_PATIENCE, connect(address, tls)).await.map_err(silent)?;
    let stream = TokioIo::new(connected.map_err(|error| error.to_string())?);
    let broken = |error: hyper::Error| format!("{address}: {error}");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    // It ends with the body, or when the body is dropped.
    tokio::spawn(connection);
    let host = match address {
        Address::Tcp(text) => text.as_str(),
        Address::Unix(_) => "localhost",
    };
    let mut request = Request::get(path).header(HOST, host);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(String::new()).map_err(|error| format!("{address}: {error}"))?;
    let answer = timeout(PATIENCE, sender.send_request(request)).await.map_err(silent)?;
    let (head, body) = answer.map_err(broken)?.into_parts();
    Ok(Download { status: head.status, headers: head.headers, body })
}

impl Download {
    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header that holds a number. `None` if it is missing or no number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    /// The next bytes of the body; `None` behind the last ones.
    ///
    /// # Errors
    /// In words, if the body breaks off, or no byte comes for long.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let next = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let next = timeout(PATIENCE, next).await.map_err(|_| "no byte comes".to_owned())?;
            let Some(frame) = next else { return Ok(None) };
            let frame = frame.map_err(|error| format!("it breaks off: {error}"))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Reads what the answer says is wrong.
    pub(crate) async fn message(mut self) -> String {
        let mut text = Vec::new();
        while let Ok(Some(piece)) = self.piece().await {
            text.extend_from_slice(&piece);
            if text.len() > MESSAGE_BYTES_MAX {
                break;
            }
        }
        let told: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        let why = told.as_ref().and_then(|told| told.get("msg")?.as_str());
        let why = why.map_or_else(|| String::from_utf8_lossy(&text), Into::into);
        format!("{} {}", self.status.as_u16(), why.trim())
    }
}
