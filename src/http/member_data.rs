//! The routes by which a member of a journal gives its data to others: its newest snapshot as a file,
//! the records of its log, single entries of the journal, and what it says of itself.
//!
//! Invariants:
//! - Only a token of the full role gets the data of all users.
//! - Every call of a source reads the disk, on a thread of its own.
//! - At most [`COPIES_MAX`] copies are under way, and as many other answers. Each holds one piece,
//!   and ends when its client takes less than a piece within [`WRITE_TIMEOUT_MS`].
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use futures_util::stream::try_unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::admin::admit;
use super::envelope::{Failure, with_body};
use super::visitor::{self, Visitor};
use crate::access::{Authenticator, Role};
use crate::command::{Error, ErrorCode};
use crate::limits::WRITE_TIMEOUT_MS;

/// Most copies that a node gives at the same time.
const COPIES_MAX: usize = 4;

/// What a joiner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPart {
    /// The newest snapshot.
    Snapshot,
    /// The log, from the record with this LSN on.
    Log(u64),
    /// The entry of the journal with this seq.
    Entry(u64),
    /// What the member says of itself, as JSON.
    Member,
}

/// A part of the data that is there.
pub struct GivenPart {
    /// Headers of the answer that say what it is.
    pub headers: Vec<(&'static str, String)>,
    /// The number of its bytes, if it is known before.
    pub bytes: Option<u64>,
    /// Reads the next piece; `None` behind the last one.
    pub next: Box<dyn FnMut() -> io::Result<Option<Bytes>> + Send>,
}

/// Why a part is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotGiven {
    /// The node recovers.
    Starting,
    /// The node is no member of a journal.
    NoJournal,
    /// The node has no snapshot. Its log may begin at LSN 1.
    NoSnapshot,
    /// The node does not know the header of the entry, or lacks its records.
    NoEntry,
    /// The log begins behind the wanted record, with this one.
    Gone(u64),
    /// The log ends before the wanted record, with this one.
    Ahead(u64),
    /// The disk refused something, or a file is damaged.
    Failed(String),
}

/// Where a node's data comes from. It may wait for the disk.
pub type DataSource = Arc<dyn Fn(DataPart) -> Result<GivenPart, NotGiven> + Send + Sync>;

#[derive(Clone)]
struct MemberData {
    source: DataSource,
    authenticator: Arc<Authenticator>,
    copies: Arc<Semaphore>,
    /// Answers of one piece, which must not wait for copies.
    pieces: Arc<Semaphore>,
}

impl fmt::Debug for GivenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenPart").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// The routes for other members, to be merged into those of the admin listener.
pub fn member_router(source: DataSource, authenticator: Arc<Authenticator>) -> Router {
    let places = || Arc::new(Semaphore::new(COPIES_MAX));
    let (copies, pieces) = (places(), places());
    let log = |query: Option<&str>| number(query, "from", "the LSN of a record").map(DataPart::Log);
    let entry =
        |query: Option<&str>| number(query, "seq", "the number of an entry").map(DataPart::Entry);
    Router::new()
        .route("/journal/image", part(|_| Ok(DataPart::Snapshot)))
        .route("/journal/log", part(log))
        .route("/journal/entry", part(entry))
        .route("/journal/member", part(|_| Ok(DataPart::Member)))
        .with_state(MemberData { source, authenticator, copies, pieces })
}

/// The route of the part that `of` finds in the query.
fn part(of: fn(Option<&str>) -> Result<DataPart, Error>) -> MethodRouter<MemberData> {
    get(
        move |State(data): State<MemberData>,
              RawQuery(query): RawQuery,
              headers: HeaderMap,
              extensions: Extensions| async move {
            data.answer(&headers, &extensions, || of(query.as_deref())).await
        },
    )
}

/// The number above 0 that the query has behind `name=`.
fn number(query: Option<&str>, name: &str, what: &str) -> Result<u64, Error> {
    let number = query.and_then(|query| query.strip_prefix(name)?.strip_prefix('='));
    let number = number.and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| Error::invalid(format!("{name}: must be {what}, as in ?{name}=1")))
}

impl MemberData {
    async fn answer(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        part: impl FnOnce() -> Result<DataPart, Error>,
    ) -> Result<Response, Failure> {
        let admitted = admit(&self.authenticator, headers);
        if visitor::admit(Visitor::of(extensions), admitted)? != Role::Full {
            let message = "the data of a member needs a token of the full role";
            return Err(Error::new(ErrorCode::PermissionDenied, message).into());
        }
        let part = part()?;
        let busy = || Error::new(ErrorCode::Busy, "other members copy; try again later");
        let places = match part {
            DataPart::Snapshot | DataPart::Log(_) => &self.copies,
            DataPart::Entry(_) | DataPart::Member => &self.pieces,
        };
        let permit = Arc::clone(places).try_acquire_owned().map_err(|_| busy())?;
        let source = Arc::clone(&self.source);
        let given = spawn_blocking(move || source(part)).await;
        let given = given.map_err(|_| Failure::internal("the disk could not be read"))??;
        Ok(streamed(given, permit))
    }
}

/// An answer whose body is read while it is sent.
fn streamed(given: GivenPart, permit: OwnedSemaphorePermit) -> Response {
    let GivenPart { headers, bytes, next } = given;
    let pieces =
        try_unfold((next, permit, Instant::now()), |(mut next, permit, asked)| async move {
            if asked.elapsed() > Duration::from_millis(WRITE_TIMEOUT_MS) {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            let read = spawn_blocking(move || next().map(|piece| (piece, next))).await;
            let (piece, next) = read.map_err(io::Error::other)??;
            Ok(piece.map(|piece| (piece, (next, permit, Instant::now()))))
        });
    let content_type = HeaderValue::from_static("application/octet-stream");
    let mut response = with_body(StatusCode::OK, content_type, Body::from_stream(pieces));
    if let Some(bytes) = bytes {
        response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

impl From<NotGiven> for Failure {
    fn from(why: NotGiven) -> Self {
        match why {
            NotGiven::Starting => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is starting")
            }
            NotGiven::NoJournal => {
                Self::new(StatusCode::NOT_FOUND, "this node is no member of a journal")
            }
            NotGiven::NoSnapshot => {
                let message = "this member has no snapshot; its log may begin at LSN 1";
                Self::new(StatusCode::NOT_FOUND, message)
            }
            NotGiven::NoEntry => {
                Self::new(StatusCode::NOT_FOUND, "this member does not have that entry")
            }
            NotGiven::Gone(oldest) => {
                let message = format!("the log of this member begins with LSN {oldest}");
                Self::new(StatusCode::GONE, message)
            }
            NotGiven::Ahead(last) => {
                let message = format!("the log of this member ends with LSN {last}");
                Self::new(StatusCode::CONFLICT, message)
            }
            NotGiven::Failed(why) => Self::internal(why),
        }
    }
}
