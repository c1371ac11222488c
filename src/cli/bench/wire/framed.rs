//! chatshard's own protocol: frames of MessagePack, with replies in any order.
//!
//! The code writes requests byte by byte, because the load side must cost little. A test gives them
//! to the server's decoder.

use bytes::{BufMut, BytesMut};
use rmp::decode::read_int;

use super::{Cut, GREETING, Look, RequestSlot, Wire};
use crate::cli::bench::data::{Data, chat_id, user_id};
use crate::cli::bench::work::LoadRequest;
use crate::command::hello::Hello;
use crate::command::{Kind, Reply};
use crate::limits::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::protocol::frame::{self, HEADER_BYTES, OpenFrame};
use crate::protocol::reply::STATUS_OK;
use crate::protocol::{decode_reply, encode_request_within};

/// chatshard's protocol on one connection.
pub struct Framed {
    data: Data,
    token: Option<String>,
    look: Look,
    /// For each slot, the request that waits for a reply. Kept only if replies are checked.
    asked: Vec<Option<LoadRequest>>,
}

impl Framed {
    /// Prepares a connection. Its greeting is not sent yet.
    pub fn new(data: Data, token: Option<String>, look: Look) -> Self {
        Self { data, token, look, asked: Vec::new() }
    }

    fn remember(&mut self, ask: LoadRequest, slot: RequestSlot) {
        if self.look == Look::Status {
            return;
        }
        let at = usize::from(slot);
        if self.asked.len() <= at {
            self.asked.resize(at + 1, None);
        }
        if let Some(place) = self.asked.get_mut(at) {
            *place = Some(ask);
        }
    }

    /// Decodes a reply, and says what is wrong with its content; `None` if nothing is.
    fn fault_in(&self, payload: &[u8], slot: RequestSlot) -> Option<String> {
        let asked = self.asked.get(usize::from(slot)).copied().flatten();
        let kind = asked.map_or(Kind::Hello, kind_of);
        match (decode_reply(payload, |_| Some(kind)), asked) {
            (Err(bad), _) => Some(bad.to_string()),
            (Ok(answer), asked) => match (answer.outcome, asked) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(Reply::List(list)), Some(ask)) => self.look.count(ask, list.items.len()),
                (Ok(Reply::Detail(detail)), Some(ask)) => self.look.count(ask, detail.items.len()),
                (Ok(Reply::MarkRead(read)), Some(LoadRequest::MarkRead { seq, .. })) => {
                    let stored = read.max_read_seq.get();
                    (stored < seq).then(|| format!("mark_read of {seq} left {stored}"))
                }
                (Ok(_), _) => None,
            },
        }
    }
}

/// The command that a request of this kind sends.
pub fn kind_of(ask: LoadRequest) -> Kind {
    match ask {
        LoadRequest::List { .. } => Kind::List,
        LoadRequest::Detail { .. } => Kind::Detail,
        LoadRequest::Advance { .. } => Kind::Advance,
        LoadRequest::MarkRead { .. } => Kind::MarkRead,
        LoadRequest::Delete { .. } => Kind::Delete,
    }
}

impl Wire for Framed {
    fn greeting(&mut self, out: &mut BytesMut) {
        let hello = Hello {
            token: self.token.clone(),
            client: Some(concat!("chatshard-bench/", env!("CARGO_PKG_VERSION")).to_owned()),
            shard: None,
            stale_ms: None,
        };
        // `hello` is short, so its encoding does not fail.
        let encoded = encode_request_within(REQUEST_BYTES_MAX, GREETING.into(), &hello.into(), out);
        debug_assert!(encoded.is_ok());
    }

    fn encode(&mut self, ask: LoadRequest, slot: RequestSlot, out: &mut BytesMut) {
        self.remember(ask, slot);
        let open = OpenFrame::begin(out);
        // [slot, code, arguments]
        out.extend_from_slice(&[0x93, 0xcd]);
        out.put_u16(slot);
        out.put_u8(kind_of(ask).code());
        match ask {
            LoadRequest::List { user } => {
                array(1, out);
                text(&user_id(user), out);
            }
            LoadRequest::Detail { user, row, count } => {
                array(2, out);
                array(count, out);
                for place in row..row.saturating_add(count) {
                    text(&chat_id(self.data.chat_of(user, place)), out);
                }
                text(&user_id(user), out);
            }
            LoadRequest::Advance { chat } => {
                array(3, out);
                text(&chat_id(chat), out);
                out.extend_from_slice(&[0xc0, 1]);
            }
            LoadRequest::MarkRead { user, row, seq } => {
                array(3, out);
                text(&user_id(user), out);
                text(&chat_id(self.data.chat_of(user, row)), out);
                out.put_u8(0xcf);
                out.put_u64(seq);
            }
            LoadRequest::Delete { user, row } => {
                array(2, out);
                text(&user_id(user), out);
                array(1, out);
                text(&chat_id(self.data.chat_of(user, row)), out);
            }
        }
        let finished = open.finish(out, REQUEST_BYTES_MAX);
        debug_assert!(finished.is_ok());
    }

    fn cut(&mut self, input: &[u8]) -> Result<Option<Cut>, String> {
        let Some(payload) = frame::first(input, REPLY_BYTES_MAX).map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        let Some((&(0x93..=0x9f), mut rest)) = payload.split_first() else {
            return Err("what came is no reply".to_owned());
        };
        let head =
            read_int::<u64, _>(&mut rest).and_then(|id| Ok((id, read_int::<u16, _>(&mut rest)?)));
        let (id, status) = head.map_err(|error| format!("what came is no reply: {error}"))?;
        // Request id 0 is for an error of the connection, which the server then closes.
        let slot = RequestSlot::try_from(id).map_err(|_| format!("a reply to request {id}"))?;
        let fault = match self.look {
            Look::Status if status == STATUS_OK => None,
            _ => self.fault_in(payload, slot),
        };
        match (slot, fault) {
            (0, fault) => {
                Err(fault.unwrap_or_else(|| "the server ended the connection".to_owned()))
            }
            (slot, fault) => Ok(Some(Cut { bytes: HEADER_BYTES + payload.len(), slot, fault })),
        }
    }
}

fn array(elements: u64, out: &mut BytesMut) {
    let elements = u32::try_from(elements).unwrap_or(u32::MAX);
    // Memory takes every write, so the result is ignored.
    let _ = rmp::encode::write_array_len(&mut out.writer(), elements);
}

fn text(bytes: &[u8], out: &mut BytesMut) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let _ = rmp::encode::write_str_len(&mut out.writer(), length);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::bench::data::DataArgs;
    use crate::command::mark_read::MarkReadReply;
    use crate::command::{Command, Error};
    use crate::protocol::{decode_request, encode_reply};
    use crate::types::Sequence;

    fn wire(look: Look) -> Framed {
        let data = Data::new(DataArgs { chats: 1000, users: 20 }).unwrap();
        Framed::new(data, None, look)
    }

    #[test]
    fn requests_are_what_the_server_decodes() {
        let mut wire = wire(Look::Status);
        let data = wire.data;
        let user = |user| String::from_utf8(user_id(user).to_vec()).unwrap();
        let chat = |of, row| String::from_utf8(chat_id(data.chat_of(of, row)).to_vec()).unwrap();
        let ids: Vec<String> = (45..65).map(|row| chat(3, row)).collect();
        let cases = [
            (LoadRequest::List { user: 3 }, json!({"user_id": user(3)})),
            (
                LoadRequest::Detail { user: 3, row: 7, count: 1 },
                json!({"ids": [chat(3, 7)], "user_id": user(3)}),
            ),
            (
                LoadRequest::Detail { user: 3, row: 45, count: 20 },
                json!({"ids": ids, "user_id": user(3)}),
            ),
            (
                LoadRequest::Advance { chat: data.chat_of(3, 7) },
                json!({"chat_id": chat(3, 7), "allocate": 1}),
            ),
            (
                LoadRequest::MarkRead { user: 3, row: 7, seq: 9 },
                json!({"user_id": user(3), "chat_id": chat(3, 7), "seq": 9}),
            ),
            (
                LoadRequest::Delete { user: 3, row: 7 },
                json!({"user_id": user(3), "ids": [chat(3, 7)]}),
            ),
        ];
        for (ask, arguments) in cases {
            let mut out = BytesMut::new();
            wire.encode(ask, 500, &mut out);
            let payload = frame::next(&mut out, REQUEST_BYTES_MAX).unwrap().unwrap();
            let request = decode_request(&payload).unwrap();
            assert_eq!(request.id, 500);
            assert_eq!(request.command, Command::from_json(kind_of(ask), arguments).unwrap());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn replies_are_cut_and_looked_at() {
        let reply = |stored| {
            let max_read_seq = Sequence::new(stored).unwrap();
            Ok(Reply::MarkRead(MarkReadReply { max_read_seq, unread: 0 }))
        };
        let ask = LoadRequest::MarkRead { user: 1, row: 1, seq: 9 };
        for look in [Look::Status, Look::Check { with_deletes: false }] {
            let mut wire = wire(look);
            wire.encode(ask, 300, &mut BytesMut::new());
            let mut cut = |outcome| {
                let mut input = BytesMut::new();
                encode_reply(300, &outcome, &mut input);
                assert_eq!(wire.cut(&input[..input.len() - 1]), Ok(None));
                let cut = wire.cut(&input).unwrap().unwrap();
                assert_eq!((cut.bytes, cut.slot), (input.len(), 300));
                cut.fault
            };
            assert_eq!(cut(reply(9)), None);
            assert!(cut(Err(Error::invalid("why"))).unwrap().contains("why"));
            assert_eq!(cut(reply(8)).is_some(), look != Look::Status);
        }
        let mut closing = BytesMut::new();
        encode_reply(0, &Err(Error::invalid("why")), &mut closing);
        assert!(wire(Look::Status).cut(&closing).unwrap_err().contains("why"));
        assert!(wire(Look::Status).cut(&[0, 0, 0, 1, 0x90]).is_err());
    }
}
