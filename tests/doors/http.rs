//! Helpers that the tests of the HTTP doors share: the API's examples, a store that answers from a
//! closure, and a way to ask a router without a socket. The modules below it test the app's other
//! routes, users' tokens, the data of a member and the OpenAPI document.

mod cors;
mod document;
mod jwt;
mod long;
mod member_data;
mod own;
mod routes;

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use chatshard::command::clear::ClearReply;
use chatshard::command::conversations::{Conversation, ConversationsReply};
use chatshard::command::detail::{ChatItem, DetailReply};
use chatshard::command::list::{ListReply, ListRow};
use chatshard::command::mark_read::MarkReadReply;
use chatshard::command::ping::PingReply;
use chatshard::command::set_flags::SetFlagsReply;
use chatshard::command::sync::{SyncItem, SyncOp, SyncReply};
use chatshard::command::unread::{UnreadItem, UnreadReply};
use chatshard::command::{Call, Command, Error, Outcome, Reply};
use chatshard::http::{App, DocsDoor, UserAuth, app_router, docs_router};
use chatshard::metrics::SharedMeter;
use chatshard::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

pub use crate::common::seed::{DELETE_EXAMPLE, DETAIL_EXAMPLE, LIST_EXAMPLE, wire};

// ---- the fake store ----

#[derive(Clone)]
pub struct Fake {
    answer: Arc<dyn Fn(&Command) -> Outcome + Send + Sync>,
    asked: Arc<Mutex<Vec<Command>>>,
}

impl Fake {
    pub fn new(answer: impl Fn(&Command) -> Outcome + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default() }
    }

    /// A store that replies as in the API's examples.
    pub fn examples() -> Self {
        Self::new(|command| match command {
            Command::List(_) => Ok(Reply::List(list_reply())),
            Command::Detail(_) => Ok(Reply::Detail(detail_reply())),
            Command::Delete(_) => Ok(Reply::Delete(())),
            Command::Conversations(_) => Ok(Reply::Conversations(conversations_reply())),
            Command::Sync(_) => Ok(Reply::Sync(sync_reply())),
            Command::Unread(_) => Ok(Reply::Unread(unread_reply())),
            Command::MarkRead(_) => Ok(Reply::MarkRead(read_reply())),
            Command::SetFlags(_) => Ok(Reply::SetFlags(flags_reply())),
            Command::Clear(_) => Ok(Reply::Clear(ClearReply { deleted_to_seq: sequence(9) })),
            Command::Ping(_) => Ok(Reply::Ping(PingReply {})),
            Command::Dissolve(_) => Err(Error::gone()),
            other => Err(Error::not_applied(other.kind().name())),
        })
    }

    pub fn asked(&self) -> Vec<Command> {
        self.asked.lock().unwrap().clone()
    }
}

impl Call for Fake {
    async fn call(&self, command: Command) -> Outcome {
        self.asked.lock().unwrap().push(command.clone());
        (self.answer)(&command)
    }
}

pub fn chat(id: &str) -> ChatId {
    ChatId::new(id).unwrap()
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn sequence(value: u64) -> Sequence {
    Sequence::new(value).unwrap()
}

pub fn time(value: u64) -> TimeMs {
    TimeMs::new(value).unwrap()
}

pub fn list_reply() -> ListReply {
    let row = ListRow {
        chat_id: chat("s_a7be32fecc0b2015"),
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: Flag::YES,
        is_hide: Flag::NO,
        max_read_seq: Sequence::ZERO,
        last_online_time: TimeMs::ZERO,
    };
    // A cursor of the store is none of the API's fields.
    ListReply { items: vec![row], next_cursor: Some("c".into()) }
}

pub fn detail_reply() -> DetailReply {
    let item = ChatItem {
        id: chat("s_a7be32fecc0b2015"),
        creator_id: user("0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca"),
        chat_type: ChatType::Single,
        status: ChatStatus::Normal,
        is_enc: Flag::NO,
        last_read_sequence: Sequence::ZERO,
        last_sequence: Sequence::ZERO,
        last_time: TimeMs::ZERO,
        created_at: TimeMs::ZERO,
    };
    DetailReply { items: vec![item] }
}

pub fn conversations_reply() -> ConversationsReply {
    let item = Conversation {
        id: chat("g_1"),
        chat_id: chat("g_1"),
        is_top: Flag::YES,
        is_mute: Flag::NO,
        is_show: Flag::YES,
        is_hide: Flag::NO,
        max_read_seq: sequence(7),
        last_online_time: time(1),
        creator_id: user("bob"),
        chat_type: ChatType::Group,
        status: ChatStatus::Disabled,
        is_enc: Flag::YES,
        last_read_sequence: sequence(8),
        last_sequence: sequence(10),
        last_time: time(1_700_000_000_000),
        created_at: time(2),
        unread: 2,
        marked_unread: Flag::NO,
    };
    ConversationsReply { items: vec![item], next_cursor: Some("c2".into()), moved: true }
}

pub fn sync_reply() -> SyncReply {
    let item = |op, id, is_show, version| SyncItem {
        op,
        id: chat(id),
        chat_id: chat(id),
        is_top: Flag::NO,
        is_mute: Flag::YES,
        is_show,
        is_hide: Flag::NO,
        max_read_seq: sequence(3),
        last_online_time: time(4),
        marked_unread: Flag::YES,
        version,
    };
    let items =
        vec![item(SyncOp::Upsert, "g_1", Flag::YES, 5), item(SyncOp::Remove, "g_2", Flag::NO, 6)];
    let (log, reason) = ("l2".into(), Some("of another log".into()));
    SyncReply { log, version: 6, reset: true, reason, more: false, items }
}

pub fn unread_reply() -> UnreadReply {
    let user_id = user("alice");
    let counts = UnreadItem { user_id, messages: 5, chats: 2, muted_messages: 40, muted_chats: 1 };
    UnreadReply { items: vec![counts] }
}

pub fn read_reply() -> MarkReadReply {
    MarkReadReply { max_read_seq: sequence(7), unread: 3 }
}

pub fn flags_reply() -> SetFlagsReply {
    SetFlagsReply { row: list_reply().items.remove(0), version: 12 }
}

// ---- asking ----

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// Checks that this is a complete failure with `status`, and returns its message.
    #[track_caller]
    pub fn failure(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        let mut json = self.json();
        let msg = json["msg"].take().as_str().unwrap().to_owned();
        assert_eq!(json, json!({"code": status, "data": null, "msg": null}));
        assert!(self.body.starts_with(&format!("{{\"code\":{status},\"data\":null,\"msg\":\"")));
        assert!(!msg.is_empty());
        msg
    }
}

pub async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub type Headers<'a> = &'a [(&'a str, &'a str)];
pub const ALICE: Headers<'static> = &[("x-user-id", "alice")];

pub async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, value.as_bytes());
    }
    ask(router, request.body(body.into()).unwrap()).await
}

pub async fn post(
    router: &Router,
    path: &str,
    headers: Headers<'_>,
    body: impl Into<Body>,
) -> Answer {
    send(router, "POST", path, headers, body).await
}

pub fn app_with(store: &Fake, auth: UserAuth) -> Router {
    app_router(App { store: store.clone(), auth, meter: SharedMeter::default() })
        .merge(docs_router(DocsDoor::App))
}

pub fn app(store: &Fake) -> Router {
    app_with(store, UserAuth::Header)
}

// ---- tokens ----

/// base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| three.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=three.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into());
        }
    }
    text
}

/// A part of a token, for tokens that no library makes.
pub fn part(json: &Value) -> String {
    base64url(json.to_string().as_bytes())
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
