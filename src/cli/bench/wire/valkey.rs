//! Valkey as the load tool uses it: with data in a layout that suits it, and by its fastest
//! commands.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `c:CHAT` | string | the chat as packed MessagePack, for GET and MGET |
//! | `h:CHAT` | hash | `s`: the last sequence, and each member with their join sequence |
//! | `u:USER` | hash | each of the user's chats with the row as packed MessagePack |
//!
//! | work | commands |
//! |---|---|
//! | detail of 1 | GET of the chat, HGET of the row |
//! | detail of 20 | MGET of the chats, HMGET of the rows |
//! | list | HGETALL of the user |
//! | advance | HINCRBY of `s` |
//! | mark_read, delete | HSET of the row |
//!
//! In three places Valkey does less than chatshard, which is in its favor:
//! - HINCRBY is the fastest way to hand out a sequence, at a third or less of the cost of a script.
//!   It does not update sequence and time in the packed chat. A user who needs them there pays for
//!   a SETRANGE or a script as well.
//! - HSET stores what it gets. A script would have to check that a read position only rises, and
//!   that it is not beyond the last message. A delete does not tell the chat.
//! - Nothing is sorted. HGETALL returns rows in any order, and the caller must sort them.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use super::resp::{command, first, joined, part};
use super::{Cut, GREETING, Look, RequestSlot, Wire};
use crate::cli::bench::data::{
    CHATS_A_USER, Data, LAST_SEQUENCE, READ_SEQUENCE, TIME_MS, chat_id, user_id,
};
use crate::cli::bench::work::LoadRequest;

/// RESP on one connection to Valkey.
pub struct Valkey {
    data: Data,
    look: Look,
    /// The commands without a reply, in the order of sending; `None` for the greeting.
    open: VecDeque<(RequestSlot, Option<LoadRequest>)>,
    row: Vec<u8>,
}

impl Valkey {
    /// Prepares a connection. Its greeting is not sent yet.
    pub fn new(data: Data, look: Look) -> Self {
        Self { data, look, open: VecDeque::new(), row: Vec::new() }
    }

    /// Appends the HSET that stores one row.
    fn set_row(&mut self, user: u64, row: u64, read: u64, shown: u64, out: &mut BytesMut) {
        self.row.clear();
        pack_row(&mut self.row, read, shown);
        command(4, out);
        part(b"HSET", out);
        joined(b"u:", &user_id(user), out);
        part(&chat_id(self.data.chat_of(user, row)), out);
        part(&self.row, out);
    }

    /// Appends the two commands that store one chat.
    pub fn store_chat(&mut self, chat: u64, out: &mut BytesMut) {
        let id = chat_id(chat);
        let members: Vec<u64> = self.data.members_of(chat).collect();
        self.row.clear();
        pack_chat(&mut self.row, members.first().copied().unwrap_or(0));
        command(3, out);
        part(b"SET", out);
        joined(b"c:", &id, out);
        part(&self.row, out);
        command(4 + 2 * members.len(), out);
        part(b"HSET", out);
        joined(b"h:", &id, out);
        part(b"s", out);
        part(LAST_SEQUENCE.to_string().as_bytes(), out);
        for member in members {
            part(&user_id(member), out);
            part(b"1", out);
        }
    }

    /// Appends the command that stores all rows of a user.
    pub fn store_user(&mut self, user: u64, out: &mut BytesMut) {
        let rows = usize::try_from(CHATS_A_USER).unwrap_or(usize::MAX);
        self.row.clear();
        pack_row(&mut self.row, READ_SEQUENCE, 1);
        command(2 + 2 * rows, out);
        part(b"HSET", out);
        joined(b"u:", &user_id(user), out);
        for row in 0..CHATS_A_USER {
            part(&chat_id(self.data.chat_of(user, row)), out);
            part(&self.row, out);
        }
    }
}

/// Packs a row as MessagePack: the fields of a list's row, and the floors from which unread is
/// counted.
fn pack_row(out: &mut Vec<u8>, read: u64, shown: u64) {
    let deleted_to = if shown == 0 { read } else { 0 };
    pack(out, &[0, 0, shown, 0, read, TIME_MS, 1, deleted_to]);
}

/// Packs a chat as MessagePack: the fields that a detail shows.
fn pack_chat(out: &mut Vec<u8>, creator: u64) {
    let creator = user_id(creator);
    out.put_u8(0x92);
    // The id of the creator has 42 bytes, so its length takes one byte.
    out.extend_from_slice(&[0xd9, u8::try_from(creator.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(&creator);
    pack(out, &[2, 1, 0, LAST_SEQUENCE, TIME_MS, TIME_MS]);
}

fn pack(out: &mut Vec<u8>, fields: &[u64]) {
    let length = u32::try_from(fields.len()).unwrap_or(u32::MAX);
    // Memory takes every write, so the result is ignored.
    let _ = rmp::encode::write_array_len(out, length);
    for field in fields {
        let _ = rmp::encode::write_uint(out, *field);
    }
}

/// How many replies Valkey gives to the commands of one request.
fn replies(ask: Option<LoadRequest>) -> usize {
    if matches!(ask, Some(LoadRequest::Detail { .. })) { 2 } else { 1 }
}

impl Wire for Valkey {
    fn greeting(&mut self, out: &mut BytesMut) {
        self.open.push_back((GREETING, None));
        command(1, out);
        part(b"PING", out);
    }

    fn encode(&mut self, ask: LoadRequest, slot: RequestSlot, out: &mut BytesMut) {
        self.open.push_back((slot, Some(ask)));
        match ask {
            LoadRequest::List { user } => {
                command(2, out);
                part(b"HGETALL", out);
                joined(b"u:", &user_id(user), out);
            }
            LoadRequest::Detail { user, row, count: 1 } => {
                let id = chat_id(self.data.chat_of(user, row));
                command(2, out);
                part(b"GET", out);
                joined(b"c:", &id, out);
                command(3, out);
                part(b"HGET", out);
                joined(b"u:", &user_id(user), out);
                part(&id, out);
            }
            LoadRequest::Detail { user, row, count } => {
                let rows = row..row.saturating_add(count);
                let length = usize::try_from(count).unwrap_or(usize::MAX);
                command(1 + length, out);
                part(b"MGET", out);
                for place in rows.clone() {
                    joined(b"c:", &chat_id(self.data.chat_of(user, place)), out);
                }
                command(2 + length, out);
                part(b"HMGET", out);
                joined(b"u:", &user_id(user), out);
                for place in rows {
                    part(&chat_id(self.data.chat_of(user, place)), out);
                }
            }
            LoadRequest::Advance { chat } => {
                command(4, out);
                part(b"HINCRBY", out);
                joined(b"h:", &chat_id(chat), out);
                part(b"s", out);
                part(b"1", out);
            }
            LoadRequest::MarkRead { user, row, seq } => self.set_row(user, row, seq, 1, out),
            LoadRequest::Delete { user, row } => self.set_row(user, row, LAST_SEQUENCE, 0, out),
        }
    }

    fn cut(&mut self, input: &[u8]) -> Result<Option<Cut>, String> {
        let Some(&(slot, ask)) = self.open.front() else {
            return if input.is_empty() {
                Ok(None)
            } else {
                Err("a reply that nobody waits for".to_owned())
            };
        };
        let (mut bytes, mut fault) = (0, None);
        for _ in 0..replies(ask) {
            let Some(found) = first(input.get(bytes..).unwrap_or_default())? else {
                return Ok(None);
            };
            bytes += found.bytes;
            let error = found.error.map(|error| String::from_utf8_lossy(error).into_owned());
            fault = fault.or(error).or_else(|| {
                let ask = ask?;
                let there = match (ask, found.elements) {
                    (LoadRequest::List { .. }, Some(elements)) => elements / 2,
                    (LoadRequest::Detail { .. }, Some(elements)) => {
                        elements.saturating_sub(found.nils)
                    }
                    (LoadRequest::Detail { .. }, None) => 1_usize.saturating_sub(found.nils),
                    _ => return None,
                };
                self.look.count(ask, there)
            });
        }
        self.open.pop_front();
        Ok(Some(Cut { bytes, slot, fault }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::data::DataArgs;

    #[test]
    fn a_detail_is_whole_with_its_second_reply() {
        let data = Data::new(DataArgs { chats: 1000, users: 20 }).unwrap();
        let mut wire = Valkey::new(data, Look::Check { with_deletes: false });
        let mut out = BytesMut::new();
        wire.encode(LoadRequest::Detail { user: 1, row: 49, count: 2 }, 7, &mut out);
        let mget = first(&out).unwrap().unwrap();
        assert_eq!(mget.elements, Some(3));
        let hmget = first(&out[mget.bytes..]).unwrap().unwrap();
        assert_eq!((hmget.elements, mget.bytes + hmget.bytes), (Some(4), out.len()));

        let reply = b"*2\r\n$1\r\na\r\n$1\r\nb\r\n";
        assert_eq!(wire.cut(reply), Ok(None));
        let cut = wire.cut(&[&reply[..], reply].concat()).unwrap().unwrap();
        assert_eq!(cut, Cut { bytes: 2 * reply.len(), slot: 7, fault: None });

        wire.encode(LoadRequest::Detail { user: 1, row: 0, count: 1 }, 8, &mut out);
        let cut = wire.cut(b"$1\r\na\r\n$-1\r\n").unwrap().unwrap();
        assert_eq!(cut.fault.as_deref(), Some("0 items instead of 1"));
        assert!(wire.cut(b"+OK\r\n").is_err());
    }

    #[test]
    fn what_is_stored_is_one_reply_a_command() {
        let data = Data::new(DataArgs { chats: 50, users: 3 }).unwrap();
        let mut wire = Valkey::new(data, Look::Status);
        let mut out = BytesMut::new();
        wire.store_chat(0, &mut out);
        wire.store_user(0, &mut out);
        let mut elements = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            let found = first(rest).unwrap().unwrap();
            elements.push(found.elements.unwrap());
            rest = &rest[found.bytes..];
        }
        // Three members in the first chat's hash, plus its sequence; then the fifty rows of a user.
        assert_eq!(elements, [3, 10, 102]);
    }
}
