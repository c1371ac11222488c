//! The app's routes: the API's three, for the caller's own rows.
//!
//! Invariants:
//! - The user of every command is the caller; a body that names another user is refused.
//! - `data` holds the API's fields in the API's order, and nothing else.
//! - A body may have fields that this version does not know.
//!
//! `Idempotency-Key` has its place in `delete`: once commands take a key, it goes into the
//! arguments there. Until then nothing is lost by not reading it: deleting twice is deleting once.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::auth::UserAuth;
use super::body::{self, Missing};
use super::envelope::{Failure, success, unknown_route, wrong_method};
use super::{ask, metered};
use crate::command::membership::{Delete, Detail, List};
use crate::command::{Call, Error, ErrorCode, Kind, Reply};
use crate::metrics::SharedMeter;
use crate::types::{ChatId, Sequence, UserId};

/// A common row's JSON with two ids of 18 bytes: sizes the buffer of a list, no more.
const LIST_ROW_BYTES: usize = 176;
/// The same for a chat.
const CHAT_BYTES: usize = 256;

/// What the app's routes need.
#[derive(Debug, Clone)]
pub struct App<C> {
    /// Answers the commands.
    pub store: C,
    /// Tells who calls.
    pub auth: UserAuth,
    /// Counts the requests; one for each core, so that cores do not wait for each other.
    pub meter: SharedMeter,
}

/// The routes that end users' apps reach.
pub fn app_router<C: Call>(state: App<C>) -> Router {
    Router::new()
        .route("/chat/mine-list", post(mine_list::<C>))
        .route("/chat/detail", post(detail::<C>))
        .route("/chat/delete", post(delete::<C>))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .with_state(state)
}

/// `data` of the API's two lists: the items alone, without a cursor.
#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

async fn mine_list<C: Call>(State(app): State<App<C>>, request: Request) -> Response {
    metered(&app.meter, Kind::List, async {
        let (user_id, _) = app.caller::<NoFields>(request, Missing::Empty).await?;
        let list = List { user_id, limit: None, cursor: None };
        match ask(&app.store, list).await? {
            Reply::List(list) => {
                let bytes = 64 + list.items.len() * LIST_ROW_BYTES;
                Ok(success(Items { items: list.items }, bytes))
            }
            other => Err(other_reply(&other)),
        }
    })
    .await
}

async fn detail<C: Call>(State(app): State<App<C>>, request: Request) -> Response {
    metered(&app.meter, Kind::Detail, async {
        let (user_id, DetailBody { ids }) = app.caller(request, Missing::Refuse).await?;
        match ask(&app.store, Detail { ids, user_id: Some(user_id) }).await? {
            Reply::Detail(detail) => {
                let bytes = 64 + detail.items.len() * CHAT_BYTES;
                Ok(success(Items { items: detail.items }, bytes))
            }
            other => Err(other_reply(&other)),
        }
    })
    .await
}

async fn delete<C: Call>(State(app): State<App<C>>, request: Request) -> Response {
    metered(&app.meter, Kind::Delete, async {
        let (user_id, DeleteBody { ids, up_to }) = app.caller(request, Missing::Refuse).await?;
        match ask(&app.store, Delete { user_id, ids, up_to, idempotency_key: None }).await? {
            Reply::Delete(()) => Ok(success((), 64)),
            other => Err(other_reply(&other)),
        }
    })
    .await
}

/// A body with no fields of its own.
#[derive(Deserialize)]
struct NoFields {}

#[derive(Deserialize)]
struct DetailBody {
    ids: Vec<ChatId>,
}

#[derive(Deserialize)]
struct DeleteBody {
    ids: Vec<ChatId>,
    /// The newest sequence that the caller saw. Not passing it on would delete more than was
    /// asked for, without a word.
    #[serde(default)]
    up_to: Option<Sequence>,
}

/// Any body's fields, and the one that none of them may have.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    user_id: Option<UserId>,
}

impl<C: Call> App<C> {
    /// Who calls, and with what. The caller comes first: a stranger's body is not even read.
    async fn caller<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
        missing: Missing,
    ) -> Result<(UserId, T), Failure> {
        let caller = self.auth.user(request.headers())?;
        let bytes = body::read(request.into_body()).await?;
        let named: Named = body::parse(&bytes, missing)?;
        if named.user_id.is_some_and(|user_id| user_id != caller) {
            let message = "user_id: the caller's own rows only; leave it out";
            return Err(Error::new(ErrorCode::PermissionDenied, message).into());
        }
        Ok((caller, body::parse(&bytes, missing)?))
    }
}

fn other_reply(reply: &Reply) -> Failure {
    Failure::internal(format!("the store answered as to {}", reply.kind().name()))
}
