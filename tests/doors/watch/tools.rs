//! Streams of a server for tests, and writers that write to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chatshard::client::{Changes, Client, ClientError, ClientOptions, Connection};
use chatshard::command::watch::{Watch, WatchEvent, WatchOp};
use chatshard::command::{Call, Command, Error, ErrorCode, Kind, Outcome, Reply};
use serde_json::{Value, json};

/// No test waits this long unless something is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The chat whose messages mark places in the stream.
const MARK: &str = "mark";

/// The output of `what`, which must come in time.
pub async fn soon<T>(name: &str, what: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, what).await;
    came.unwrap_or_else(|_| panic!("{name} does not come"))
}

pub fn options() -> ClientOptions {
    ClientOptions { connect_timeout: PATIENCE, call_timeout: PATIENCE, ..Default::default() }
}

pub async fn client(address: SocketAddr) -> Client {
    Client::connect(address, options()).await.unwrap()
}

pub fn command(name: &str, arguments: Value) -> Command {
    Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
}

pub async fn call(client: &Client, name: &str, arguments: Value) -> Outcome {
    client.call(command(name, arguments)).await
}

/// The reply to a command that must succeed.
pub async fn ok(client: &Client, name: &str, arguments: Value) -> Value {
    match call(client, name, arguments.clone()).await {
        Ok(reply) => serde_json::to_value(reply).unwrap(),
        Err(error) => panic!("{name} {arguments}: {error}"),
    }
}

/// Creates a group whose creator is its only member.
pub async fn create(client: &Client, chat: &str, user: &str) {
    let group = json!({"id": chat, "type": 2, "creator_id": user, "user_ids": [user]});
    ok(client, "create", group).await;
}

/// Creates the chat of the marks.
pub async fn prepare(client: &Client) {
    create(client, MARK, "marker").await;
}

/// Sets a mark behind everything that was acknowledged.
pub async fn mark(client: &Client, number: u64) {
    ok(client, "advance", json!({"chat_id": MARK, "to": number})).await;
}

/// Whether the event is that mark.
pub fn is_mark(event: &WatchEvent, number: u64) -> bool {
    event.chat_id.as_ref().is_some_and(|chat| chat.as_str() == MARK)
        && event.last_sequence.is_some_and(|sequence| sequence.get() == number)
}

/// The offset at the end of an error message.
pub fn offset_in(message: &str) -> String {
    message.rsplit(' ').next().unwrap().to_owned()
}

/// The record of an offset. Offsets are opaque to clients; in this version they end with the
/// record's number.
pub fn record(offset: &str) -> u64 {
    offset.rsplit('.').next().unwrap().parse().unwrap()
}

/// The offset of another record of the same log.
pub fn with_record(offset: &str, record: u64) -> String {
    format!("{}.{record}", offset.split('.').next().unwrap())
}

/// One stream on a connection of its own.
pub struct Stream {
    pub changes: Changes,
    /// The offset at which it begins.
    pub began: String,
}

impl Stream {
    /// Opens it, and waits for the heartbeat with which it begins.
    pub async fn open(address: SocketAddr, from: Option<&str>) -> Self {
        let from = from.map(str::to_owned);
        let mut changes = Changes::open(address, &options(), from.clone()).await.unwrap();
        let first = soon("the first heartbeat", changes.next()).await.unwrap();
        assert_eq!(first.op, WatchOp::Heartbeat, "{first:?}");
        assert!(from.is_none_or(|from| from == first.offset), "{first:?}");
        Self { changes, began: first.offset }
    }

    /// The next change.
    pub async fn next(&mut self) -> WatchEvent {
        let next = async {
            loop {
                let event = self.changes.next().await.unwrap();
                if event.op != WatchOp::Heartbeat {
                    return event;
                }
            }
        };
        // Heartbeats come while there is no change.
        soon("a change", next).await
    }

    /// The changes up to a mark, which is the last of them.
    pub async fn until_mark(&mut self, number: u64) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        while !events.last().is_some_and(|event| is_mark(event, number)) {
            events.push(self.next().await);
        }
        events
    }

    /// The events until the stream ends, and the error with which it ends.
    pub async fn end(&mut self) -> (Vec<WatchEvent>, ClientError) {
        let mut events = Vec::new();
        let end = async {
            loop {
                match self.changes.next().await {
                    Ok(event) if event.op == WatchOp::Heartbeat => {}
                    Ok(event) => events.push(event),
                    Err(error) => return error,
                }
            }
        };
        let error = soon("the end of the stream", end).await;
        (events, error)
    }
}

/// The error of a watch that ends without a change.
pub async fn refused(address: SocketAddr, from: Option<&str>, code: ErrorCode) -> Error {
    let changes = Changes::open(address, &options(), from.map(str::to_owned)).await.unwrap();
    let mut stream = Stream { changes, began: String::new() };
    match stream.end().await {
        (events, ClientError::Refused(error)) => {
            assert!(events.is_empty(), "{from:?}: {events:?}");
            assert_eq!(error.code, code, "{from:?}: {error}");
            error
        }
        (_, error) => panic!("{from:?}: {error}"),
    }
}

/// Several streams on one connection.
pub struct Streams {
    connection: Connection,
    ids: Vec<u64>,
    told: HashMap<u64, Vec<WatchEvent>>,
}

impl Streams {
    /// Opens one stream from each of these offsets, and waits until all have begun.
    pub async fn open(address: SocketAddr, froms: &[Option<String>]) -> Self {
        let (mut connection, _) = Connection::connect(address, &options()).await.unwrap();
        let open =
            |from: &Option<String>| connection.send(&Watch { from: from.clone() }.into()).unwrap();
        let ids: Vec<u64> = froms.iter().map(open).collect();
        connection.flush().await.unwrap();
        let mut streams = Self { connection, ids, told: HashMap::new() };
        while streams.told.len() < streams.ids.len() {
            let (id, event) = soon("the first heartbeats", streams.receive()).await;
            let at = streams.ids.iter().position(|one| *one == id).unwrap();
            match streams.told.get_mut(&id) {
                Some(told) => told.push(event),
                None => {
                    assert_eq!(event.op, WatchOp::Heartbeat, "{event:?}");
                    assert!(froms[at].as_ref().is_none_or(|from| *from == event.offset));
                    streams.told.insert(id, Vec::new());
                }
            }
        }
        streams
    }

    async fn receive(&mut self) -> (u64, WatchEvent) {
        let answer = self.connection.receive().await.unwrap();
        match answer.outcome {
            Ok(Reply::Watch(event)) => (answer.id, event),
            other => panic!("watch {}: {other:?}", answer.id),
        }
    }

    /// The events of each stream up to a mark, in the order in which the streams were opened.
    pub async fn until_mark(mut self, number: u64) -> Vec<Vec<WatchEvent>> {
        let at_mark =
            |told: &Vec<WatchEvent>| told.last().is_some_and(|last| is_mark(last, number));
        let marks = async {
            while !self.told.values().all(at_mark) {
                let (id, event) = self.receive().await;
                let told = self.told.get_mut(&id).unwrap();
                if event.op != WatchOp::Heartbeat && !at_mark(told) {
                    told.push(event);
                }
            }
        };
        soon("the mark", marks).await;
        self.ids.iter().map(|id| self.told.remove(id).unwrap()).collect()
    }
}

/// A client that writes to a chat of its own, one request after the other.
pub struct Writer {
    client: Client,
    chat: String,
    /// Number of acknowledged messages.
    pub sent: u64,
}

impl Writer {
    pub async fn new(address: SocketAddr, chat: &str) -> Self {
        let client = client(address).await;
        create(&client, chat, "u").await;
        Self { client, chat: chat.to_owned(), sent: 0 }
    }

    /// Continues on another connection, perhaps to another server.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        self.client = client(address).await;
    }

    pub async fn rounds(&mut self, count: u64) {
        for _ in 0..count {
            self.round().await.unwrap();
        }
    }

    /// Writes until the server is gone.
    pub async fn until_refused(&mut self) {
        while self.round().await.is_ok() {}
    }

    /// Sends a message, and now and then a command of each other kind.
    async fn round(&mut self) -> Result<(), Error> {
        let chat = self.chat.as_str();
        let message = match self.sent % 2 {
            0 => json!({"chat_id": chat, "allocate": 1, "sender_id": "u"}),
            _ => json!({"chat_id": chat, "allocate": 1}),
        };
        match call(&self.client, "advance", message).await? {
            Reply::Advance(reply) => self.sent = reply.last_sequence.get(),
            other => panic!("{other:?}"),
        }
        let sent = self.sent;
        if sent.is_multiple_of(3) {
            let read = json!({"user_id": "u", "chat_id": chat, "seq": sent});
            call(&self.client, "mark_read", read).await?;
        }
        if sent.is_multiple_of(4) {
            let flags = json!({"user_id": "u", "chat_id": chat, "is_top": sent / 4 % 2});
            call(&self.client, "set_flags", flags).await?;
        }
        if sent.is_multiple_of(5) {
            let delete = json!({"user_id": "u", "ids": [chat]});
            call(&self.client, "delete", delete).await?;
        }
        Ok(())
    }

    /// Checks that a stream from before the first message on has all messages, in order.
    pub fn check(&self, told: &[WatchEvent]) {
        let messages: Vec<u64> = told
            .iter()
            .filter(|event| event.op == WatchOp::Advance)
            .filter(|event| event.chat_id.as_ref().unwrap().as_str() == self.chat)
            .map(|event| event.last_sequence.unwrap().get())
            .collect();
        assert!(messages.iter().copied().eq(1..=messages.len() as u64), "{messages:?}");
        assert!(messages.len() as u64 >= self.sent, "{} of {}", messages.len(), self.sent);
    }
}

/// Checks that changes are in the order of the log, each once.
pub fn check_order(told: &[WatchEvent]) {
    let in_order = told.is_sorted_by(|a, b| record(&a.offset) < record(&b.offset));
    assert!(in_order, "{:?}", told.iter().map(|event| &event.offset).collect::<Vec<_>>());
}

/// The offsets of these changes, preceded by the one before the first.
pub fn offsets(began: &str, told: &[WatchEvent]) -> Vec<String> {
    let offsets = told.iter().map(|event| event.offset.clone());
    std::iter::once(began.to_owned()).chain(offsets).collect()
}

/// Watches from every one of these offsets at once. Checks that each stream has exactly the rest of
/// `whole` behind its offset, up to a mark that `meanwhile` sets.
pub async fn check_resumes(
    address: SocketAddr,
    from: &[String],
    mark: u64,
    meanwhile: impl Future<Output = Vec<WatchEvent>>,
) -> Vec<WatchEvent> {
    let mut open = Vec::new();
    for froms in from.chunks(16) {
        let froms: Vec<Option<String>> = froms.iter().cloned().map(Some).collect();
        open.push(Streams::open(address, &froms).await);
    }
    let mut resumed = tokio::task::JoinSet::new();
    for (at, streams) in open.into_iter().enumerate() {
        resumed.spawn(async move { (at, streams.until_mark(mark).await) });
    }
    let whole = meanwhile.await;
    check_order(&whole);
    while let Some(done) = resumed.join_next().await {
        let (at, told) = done.unwrap();
        for (told, from) in told.iter().zip(&from[16 * at..]) {
            let rest = whole.iter().position(|event| record(&event.offset) > record(from)).unwrap();
            assert!(
                *told == whole[rest..],
                "watched from {from}: {told:?}\nnot {:?}",
                &whole[rest..]
            );
        }
    }
    whole
}
