//! `bench canned`: a server that replies with prepared bytes, to compare the TCP door with.
//!
//! It reads, cuts frames and writes exactly like chatshard's connections, on one thread. Of a
//! request it reads only the id and the command, and of a detail the number of ids. Then it puts
//! the id before a reply that was encoded at the start. The time that chatshard takes beyond this
//! is its own work.
//!
//! The replies are chatshard's encodings of the data of [`super::data`]. With `--like` they are
//! fetched from a running, filled chatshard.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::Args;
use rmp::decode::{read_array_len, read_int};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::data::{
    CHATS_A_USER, Data, DataArgs, LAST_SEQUENCE, READ_SEQUENCE, TIME_MS, chat_id, sequence_now,
    user_id,
};
use super::wire::framed::Framed;
use super::wire::{GREETING, Look, Wire, read_reply};
use super::work::LoadRequest;
use crate::cli::Failure;
use crate::cli::failure::tell;
use crate::command::advance::AdvanceReply;
use crate::command::detail::{ChatItem, DetailReply};
use crate::command::hello::{HelloReply, Limits, PROTOCOL_VERSION};
use crate::command::list::{ListReply, ListRow};
use crate::command::mark_read::MarkReadReply;
use crate::command::ping::PingReply;
use crate::command::{Kind, Reply};
use crate::limits::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX, SLOTS};
use crate::net::stream::read_now;
use crate::protocol::{self, frame};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Invalid, Sequence, TimeMs, UserId};

/// The default address to listen on.
pub const DEFAULT_ADDR: &str = "127.0.0.1:7701";
/// Free space reserved before each read, in bytes; as much as chatshard's connections reserve.
const READ_BYTES: usize = 16 << 10;
/// Longest wait for the server from which the replies are fetched.
const LIKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `bench canned`: its address, and the data or the server behind its replies.
#[derive(Debug, Clone, Args)]
pub struct CannedArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADDR)]
    pub listen: SocketAddr,
    /// Copy the replies of this chatshard, which `bench fill` has filled
    #[arg(long, value_name = "ADDR")]
    pub like: Option<String>,
    /// The size of the data.
    #[command(flatten)]
    pub data: DataArgs,
}

/// The part of a request that decides its reply: the command's code, and whether it names several
/// chats.
type Key = (u8, bool);

/// The prepared replies. Each is what follows the request id in the payload.
type Ready = BTreeMap<Key, Bytes>;

/// Serves the prepared replies until the process is ended.
pub fn run(args: &CannedArgs) -> Result<(), Failure> {
    let data = Data::new(args.data)?;
    let mut ready = replies(&data).map_err(|invalid| Failure::new(invalid.0))?;
    if let Some(like) = &args.like {
        let taken = taken_from(like, &data);
        ready.extend(taken.map_err(|error| Failure::new(format!("{like}: {error}")))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let served = LocalSet::new().block_on(&runtime, serve(args.listen, Rc::new(ready)));
    served.map_err(|error| Failure::new(format!("{}: {error}", args.listen)))
}

async fn serve(listen: SocketAddr, ready: Rc<Ready>) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tell(format_args!("canned: listening on {}", listener.local_addr()?));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(converse(stream, Rc::clone(&ready)));
    }
}

/// Serves one connection, with the steps of chatshard's `net::connection`.
async fn converse(mut stream: TcpStream, ready: Rc<Ready>) -> io::Result<()> {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    loop {
        loop {
            let bytes = match frame::first(&input, REQUEST_BYTES_MAX) {
                Ok(None) => break,
                Ok(Some(payload)) => {
                    let Some((id, key)) = head(payload) else { return Ok(()) };
                    answer(id, key, &ready, &mut output);
                    frame::HEADER_BYTES + payload.len()
                }
                Err(_) => return Ok(()),
            };
            input.advance(bytes);
        }
        while !output.is_empty() {
            match stream.try_write(&output) {
                Ok(bytes) => output.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        output = BytesMut::new();
        if input.is_empty() {
            input = BytesMut::new();
        }
        stream.readable().await?;
        input.reserve(READ_BYTES);
        match read_now(&mut stream, &mut input) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a request: its id, and what decides its reply.
fn head(payload: &[u8]) -> Option<(u64, Key)> {
    let mut rest = payload;
    read_array_len(&mut rest).ok()?;
    let id = read_int(&mut rest).ok()?;
    let code = read_int(&mut rest).ok()?;
    let mut several = false;
    if code == Kind::Detail.code() {
        read_array_len(&mut rest).ok()?;
        several = read_array_len(&mut rest).ok()? > 1;
    }
    Some((id, (code, several)))
}

fn answer(id: u64, key: Key, ready: &Ready, out: &mut BytesMut) {
    let open = frame::OpenFrame::begin(out);
    out.put_u8(0x93);
    // Memory takes every write, so the result is ignored.
    let _ = rmp::encode::write_uint(&mut out.writer(), id);
    match ready.get(&key) {
        Some(reply) => out.extend_from_slice(reply),
        // Status 400, and a body of two texts.
        None => out.extend_from_slice(b"\xcd\x01\x90\x92\xb0invalid_argument\xaanot canned"),
    }
    let finished = open.finish(out, REPLY_BYTES_MAX);
    debug_assert!(finished.is_ok());
}

/// The part of a reply's payload that follows the request id.
fn behind_id(payload: &[u8]) -> Option<Bytes> {
    let mut rest = payload;
    read_array_len(&mut rest).ok()?;
    read_int::<u64, _>(&mut rest).ok()?;
    Some(Bytes::copy_from_slice(rest))
}

/// Encodes a reply of each kind with the code of this program.
fn replies(data: &Data) -> Result<Ready, Invalid> {
    let first = Sequence::new(LAST_SEQUENCE)?.checked_add(1)?;
    let (last_sequence, last_time) = (first, TimeMs::new(TIME_MS)?);
    let all = [
        (false, Reply::Hello(Box::new(hello()))),
        (false, Reply::Ping(PingReply {})),
        (false, Reply::List(list(data)?)),
        (false, Reply::Detail(detail(data, 1)?)),
        (true, Reply::Detail(detail(data, 20)?)),
        (false, Reply::Delete(())),
        (false, Reply::Advance(AdvanceReply { first_sequence: first, last_sequence, last_time })),
        (false, Reply::MarkRead(mark_read()?)),
    ];
    let mut ready = Ready::new();
    for (several, reply) in all {
        let code = reply.kind().code();
        let mut out = BytesMut::new();
        protocol::encode_reply(1, &Ok(reply), &mut out);
        let payload = out.get(frame::HEADER_BYTES..).and_then(behind_id);
        ready.insert((code, several), payload.unwrap_or_default());
    }
    Ok(ready)
}

fn hello() -> HelloReply {
    HelloReply {
        server: "canned".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
        shards: 1,
        slots: SLOTS,
        hash_seed: 0,
        shard: 0,
        limits: Limits::of_this_build(),
        ..HelloReply::default()
    }
}

fn list(data: &Data) -> Result<ListReply, Invalid> {
    let row = |place| {
        Ok(ListRow {
            chat_id: ChatId::new(&String::from_utf8_lossy(&chat_id(data.chat_of(0, place))))?,
            is_top: Flag::NO,
            is_mute: Flag::NO,
            is_show: Flag::YES,
            is_hide: Flag::NO,
            max_read_seq: Sequence::new(READ_SEQUENCE)?,
            last_online_time: TimeMs::new(TIME_MS)?,
        })
    };
    let items = (0..CHATS_A_USER).map(row).collect::<Result<_, Invalid>>()?;
    Ok(ListReply { items, next_cursor: None })
}

fn detail(data: &Data, count: u64) -> Result<DetailReply, Invalid> {
    let item = |place| {
        Ok(ChatItem {
            id: ChatId::new(&String::from_utf8_lossy(&chat_id(data.chat_of(0, place))))?,
            creator_id: UserId::new(&String::from_utf8_lossy(&user_id(0)))?,
            chat_type: ChatType::Group,
            status: ChatStatus::Normal,
            is_enc: Flag::NO,
            last_read_sequence: Sequence::new(READ_SEQUENCE)?,
            last_sequence: Sequence::new(LAST_SEQUENCE)?,
            last_time: TimeMs::new(TIME_MS)?,
            created_at: TimeMs::new(TIME_MS)?,
        })
    };
    Ok(DetailReply { items: (0..count).map(item).collect::<Result<_, Invalid>>()? })
}

fn mark_read() -> Result<MarkReadReply, Invalid> {
    let seq = sequence_now();
    Ok(MarkReadReply { max_read_seq: Sequence::new(seq)?, unread: LAST_SEQUENCE - seq })
}

/// Fetches the replies for the first user from the server at `addr`. That advances one of the
/// user's chats.
fn taken_from(addr: &str, data: &Data) -> Result<Ready, String> {
    let asks = [
        (Kind::List, false, LoadRequest::List { user: 0 }),
        (Kind::Detail, false, LoadRequest::Detail { user: 0, row: 0, count: 1 }),
        (Kind::Detail, true, LoadRequest::Detail { user: 0, row: 0, count: 20 }),
        (Kind::Advance, false, LoadRequest::Advance { chat: data.chat_of(0, 0) }),
        (Kind::MarkRead, false, LoadRequest::MarkRead { user: 0, row: 0, seq: sequence_now() }),
    ];
    let mut stream = std::net::TcpStream::connect(addr).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(LIKE_TIMEOUT)).map_err(|error| error.to_string())?;
    let mut wire = Framed::new(*data, None, Look::Check { with_deletes: false });
    let mut out = BytesMut::new();
    wire.greeting(&mut out);
    let mut input = BytesMut::new();
    let mut ready = Ready::new();
    let mut waiting = None;
    let mut rest = asks.into_iter();
    loop {
        stream.write_all(&out).map_err(|error| error.to_string())?;
        out.clear();
        let cut = read_reply(&mut wire, &mut stream, &mut input)?;
        if let Some(fault) = cut.fault {
            return Err(fault);
        }
        let reply = input.split_to(cut.bytes);
        if let Some(key) = waiting.filter(|_| cut.slot != GREETING) {
            let payload = reply.get(frame::HEADER_BYTES..).and_then(behind_id);
            ready.insert(key, payload.ok_or("a reply without an id")?);
        }
        let Some((kind, several, ask)) = rest.next() else { return Ok(ready) };
        waiting = Some((kind.code(), several));
        wire.encode(ask, 1, &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_gets_a_reply_that_passes_a_check() {
        let data = Data::new(DataArgs { chats: 1000, users: 20 }).unwrap();
        let ready = replies(&data).unwrap();
        let mut wire = Framed::new(data, None, Look::Check { with_deletes: false });
        let (mut requests, mut answers) = (BytesMut::new(), BytesMut::new());
        wire.greeting(&mut requests);
        for (slot, ask) in (1..).zip([
            LoadRequest::List { user: 3 },
            LoadRequest::Detail { user: 3, row: 45, count: 20 },
            LoadRequest::Detail { user: 3, row: 4, count: 1 },
            LoadRequest::Advance { chat: 7 },
            LoadRequest::MarkRead { user: 3, row: 4, seq: READ_SEQUENCE },
            LoadRequest::Delete { user: 3, row: 44 },
        ]) {
            wire.encode(ask, slot, &mut requests);
        }
        while let Some(payload) = frame::next(&mut requests, REQUEST_BYTES_MAX).unwrap() {
            let (id, key) = head(&payload).unwrap();
            answer(id, key, &ready, &mut answers);
        }
        let mut slots = Vec::new();
        while let Some(cut) = wire.cut(&answers).unwrap() {
            assert_eq!(cut.fault, None);
            slots.push(cut.slot);
            answers.advance(cut.bytes);
        }
        assert_eq!(slots, [GREETING, 1, 2, 3, 4, 5, 6]);
        answer(9, (99, false), &ready, &mut answers);
        assert!(wire.cut(&answers).unwrap().unwrap().fault.is_some());
    }
}
