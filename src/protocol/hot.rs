//! The reads that are most of the load, without serde: the request is looked at where it lies, and
//! the reply is written where it leaves from. Nothing is allocated.
//!
//! Only the plain form of a request is known here; whatever else comes takes the way of
//! [`super::decode_request`], which also makes the errors. So there are no errors in this file.
//!
//! Invariants:
//! - What [`read`] takes, `decode_request` takes too, and as the same request.
//! - What is written is byte for byte what `encode_reply` writes.

use bytes::BytesMut;

use super::CONNECTION_ID;
use super::frame::Open;
use super::reply::{STATUS_OK, write_head};
use super::walk::{Head, Reader};
use crate::command::Kind;
use crate::command::membership::{ChatItemRef, ListRowRef};
use crate::limits::{ID_BYTES_MAX, REPLY_BYTES_MAX};
use crate::types::is_id;

/// Most ids of a `detail` that is read here.
pub const IDS_MAX: usize = 64;
/// Most rows of a `list` that is written here: so many fit into a reply whatever their ids are.
pub const ROWS_MAX: usize = 4096;

const _: () = assert!(ROWS_MAX * ROW_BYTES_MAX < REPLY_BYTES_MAX);
const _: () = assert!(IDS_MAX * ITEM_BYTES_MAX < REPLY_BYTES_MAX);

/// A request that only reads.
#[derive(Debug, Clone, Copy)]
pub struct HotRead<'a> {
    /// The client's number for it.
    pub id: u64,
    /// What is asked.
    pub ask: Ask<'a>,
}

/// What a [`HotRead`] asks.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// `list` of all rows.
    List {
        /// Whose.
        user_id: &'a str,
    },
    /// `detail`.
    Detail {
        /// Which chats: one to [`IDS_MAX`].
        ids: Ids<'a>,
        /// For whom.
        user_id: Option<&'a str>,
    },
}

impl<'a> Ask<'a> {
    /// The command.
    pub fn kind(self) -> Kind {
        match self {
            Self::List { .. } => Kind::List,
            Self::Detail { .. } => Kind::Detail,
        }
    }

    /// The user that it names.
    pub fn user_id(self) -> Option<&'a str> {
        match self {
            Self::List { user_id } => Some(user_id),
            Self::Detail { user_id, .. } => user_id,
        }
    }
}

/// Ids in a request, each checked.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Ids<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        id(&mut self.reader)
    }
}

/// The request in a frame's payload, if it is a plain read.
pub fn read(payload: &[u8]) -> Option<HotRead<'_>> {
    let mut reader = Reader::new(payload);
    let [Head::Array(3), Head::Unsigned(request_id), Head::Unsigned(code), Head::Array(arguments)] =
        [reader.head().ok()?, reader.head().ok()?, reader.head().ok()?, reader.head().ok()?]
    else {
        return None;
    };
    if request_id == CONNECTION_ID {
        return None;
    }
    let kind = u8::try_from(code).ok().and_then(Kind::from_code)?;
    let ask = match kind {
        Kind::List if (1..=3).contains(&arguments) => {
            let user_id = id(&mut reader)?;
            nils(&mut reader, arguments - 1)?;
            Ask::List { user_id }
        }
        Kind::Detail if (1..=2).contains(&arguments) => {
            let Head::Array(left @ 1..=IDS_MAX) = reader.head().ok()? else { return None };
            let ids = Ids { reader, left };
            for _ in 0..left {
                let text = id(&mut reader)?;
                if !is_id(text) {
                    return None;
                }
            }
            let user_id = match arguments {
                2 if !reader.at_nil() => Some(id(&mut reader)?),
                _ => {
                    nils(&mut reader, arguments - 1)?;
                    None
                }
            };
            Ask::Detail { ids, user_id }
        }
        _ => return None,
    };
    reader.end().ok()?;
    ask.user_id().is_none_or(is_id).then_some(HotRead { id: request_id, ask })
}

fn id<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    match reader.head() {
        Ok(Head::Text(bytes)) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn nils(reader: &mut Reader<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| matches!(reader.head(), Ok(Head::Nil)).then_some(()))
}

/// Bytes of the longest id with its head, and of the longest integer.
const TEXT_BYTES_MAX: usize = 2 + ID_BYTES_MAX;
const INTEGER_BYTES_MAX: usize = 9;
/// Bytes of the longest row and the longest item, and what an integer may write beyond its end.
const ROW_BYTES_MAX: usize = 1 + TEXT_BYTES_MAX + 4 + 2 * INTEGER_BYTES_MAX + INTEGER_BYTES_MAX;
const ITEM_BYTES_MAX: usize =
    1 + 2 * TEXT_BYTES_MAX + 3 + 4 * INTEGER_BYTES_MAX + INTEGER_BYTES_MAX;

/// Appends the reply of a `list` of all rows: at most [`ROWS_MAX`].
pub fn write_list<'r>(
    id: u64,
    rows: impl ExactSizeIterator<Item = ListRowRef<'r>>,
    out: &mut BytesMut,
) {
    let open = Open::begin(out);
    write_head(id, STATUS_OK, out);
    out.extend_from_slice(&[ARRAY_FIX | 2]);
    array_len(rows.len(), out);
    let mut piece = Piece([0; ROW_BYTES_MAX], 0);
    for row in rows {
        piece.1 = 0;
        piece.byte(ARRAY_FIX | 7);
        piece.text(row.chat_id);
        piece.byte(u8::from(row.is_top.0));
        piece.byte(u8::from(row.is_mute.0));
        piece.byte(u8::from(row.is_show.0));
        piece.byte(u8::from(row.is_hide.0));
        piece.integer(row.max_read_seq.get());
        piece.integer(row.last_online_time.get());
        piece.append(out);
    }
    out.extend_from_slice(&[NIL]);
    finish(open, out);
}

/// Appends the reply of a `detail`: at most [`IDS_MAX`] items.
pub fn write_detail<'c>(
    id: u64,
    items: impl ExactSizeIterator<Item = ChatItemRef<'c>>,
    out: &mut BytesMut,
) {
    let open = Open::begin(out);
    write_head(id, STATUS_OK, out);
    out.extend_from_slice(&[ARRAY_FIX | 1]);
    array_len(items.len(), out);
    let mut piece = Piece([0; ITEM_BYTES_MAX], 0);
    for item in items {
        piece.1 = 0;
        piece.byte(ARRAY_FIX | 9);
        piece.text(item.id);
        piece.text(item.creator_id);
        piece.byte(item.chat_type.code());
        piece.byte(item.status.code());
        piece.byte(u8::from(item.is_enc.0));
        piece.integer(item.last_read_sequence.get());
        piece.integer(item.last_sequence.get());
        piece.integer(item.last_time.get());
        piece.integer(item.created_at.get());
        piece.append(out);
    }
    finish(open, out);
}

fn finish(open: Open, out: &mut BytesMut) {
    let finished = open.finish(out, REPLY_BYTES_MAX);
    debug_assert!(finished.is_ok(), "so few rows and items always fit");
}

const NIL: u8 = 0xc0;
/// Head of an array of up to 15 elements.
const ARRAY_FIX: u8 = 0x90;

fn array_len(len: usize, out: &mut BytesMut) {
    let written = u32::try_from(len)
        .map(|len| rmp::encode::write_array_len(&mut bytes::BufMut::writer(out), len));
    debug_assert!(matches!(written, Ok(Ok(_))), "a buffer in memory takes every write");
}

/// A row or an item while it is put together.
struct Piece<const N: usize>([u8; N], usize);

impl<const N: usize> Piece<N> {
    fn put(&mut self, bytes: &[u8]) {
        // The array holds the longest there can be; what is behind it would be cut off.
        if let Some(place) = self.0.get_mut(self.1..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
        self.1 += 1;
    }

    fn text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(short @ 0..=31) => self.byte(0xa0 | short),
            Ok(long) => {
                self.put(&[0xd9, long]);
                self.1 += 2;
            }
            Err(_) => debug_assert!(false, "an id is short"),
        }
        self.put(text.as_bytes());
        self.1 += text.len();
    }

    /// Always writes nine bytes, of which only as many count as the value needs: no branch to mispredict.
    fn integer(&mut self, value: u64) {
        let (marker, bytes, shift): (u8, usize, u32) = match value.leading_zeros() {
            0..=31 => (0xcf, 8, 0),
            32..=47 => (0xce, 4, 32),
            48..=55 => (0xcd, 2, 48),
            56 => (0xcc, 1, 56),
            // The value is its own marker.
            _ => (value.to_be_bytes()[7], 0, 0),
        };
        let [a, b, c, d, e, f, g, h] = (value << shift).to_be_bytes();
        self.put(&[marker, a, b, c, d, e, f, g, h]);
        self.1 += 1 + bytes;
    }

    fn append(&self, out: &mut BytesMut) {
        out.extend_from_slice(self.0.get(..self.1).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::Draw;
    use super::super::{decode_request, encode_reply, encode_request, frame};
    use super::*;
    use crate::command::membership::{DetailReply, ListReply};
    use crate::command::{Command, Reply};

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_reads(choices: Vec<u64>, request_id in 1..=u64::MAX) {
            for &kind in Kind::ALL {
                let command = Draw::new(&choices).command(kind);
                let mut out = BytesMut::new();
                encode_request(request_id, &command, &mut out).unwrap();
                let payload = frame::next(&mut out, usize::MAX).unwrap().unwrap();
                let hot = read(&payload);
                let is_plain = match &command {
                    Command::List(list) => list.limit.is_none() && list.cursor.is_none(),
                    Command::Detail(detail) => (1..=IDS_MAX).contains(&detail.ids.len()),
                    _ => false,
                };
                prop_assert_eq!(hot.is_some(), is_plain);
                let Some(HotRead { id, ask }) = hot else { continue };
                prop_assert_eq!(id, request_id);
                match (&command, ask) {
                    (Command::List(list), Ask::List { user_id }) => {
                        prop_assert_eq!(list.user_id.as_str(), user_id);
                    }
                    (Command::Detail(detail), Ask::Detail { ids, user_id }) => {
                        prop_assert!(detail.ids.iter().map(|id| id.as_str()).eq(ids));
                        prop_assert_eq!(detail.user_id.as_ref().map(|id| id.as_str()), user_id);
                    }
                    _ => prop_assert!(false, "another command was read"),
                }
            }
        }

        #[test]
        fn what_is_written_is_what_serde_writes(choices: Vec<u64>, id in 1..=u64::MAX) {
            for kind in [Kind::List, Kind::Detail] {
                let mut reply = Draw::new(&choices).reply(kind);
                let mut hot = BytesMut::from(&b"before"[..]);
                match &mut reply {
                    Reply::List(ListReply { items, next_cursor }) => {
                        *next_cursor = None;
                        let rows = items.iter().map(|row| ListRowRef {
                            chat_id: row.chat_id.as_str(),
                            is_top: row.is_top,
                            is_mute: row.is_mute,
                            is_show: row.is_show,
                            is_hide: row.is_hide,
                            max_read_seq: row.max_read_seq,
                            last_online_time: row.last_online_time,
                        });
                        write_list(id, rows, &mut hot);
                    }
                    Reply::Detail(DetailReply { items }) => {
                        let items = items.iter().map(|item| ChatItemRef {
                            id: item.id.as_str(),
                            creator_id: item.creator_id.as_str(),
                            chat_type: item.chat_type,
                            status: item.status,
                            is_enc: item.is_enc,
                            last_read_sequence: item.last_read_sequence,
                            last_sequence: item.last_sequence,
                            last_time: item.last_time,
                            created_at: item.created_at,
                        });
                        write_detail(id, items, &mut hot);
                    }
                    _ => prop_assert!(false, "another reply was drawn"),
                }
                let mut serde = BytesMut::from(&b"before"[..]);
                encode_reply(id, &Ok(reply), &mut serde);
                prop_assert_eq!(hot, serde);
            }
        }

        #[test]
        fn what_serde_refuses_is_not_read(bytes: Vec<u8>, choices: Vec<u64>, at: usize) {
            let mut out = BytesMut::new();
            let kind = if at % 2 == 0 { Kind::List } else { Kind::Detail };
            encode_request(7, &Draw::new(&choices).command(kind), &mut out).unwrap();
            let mut payload = frame::next(&mut out, usize::MAX).unwrap().unwrap().to_vec();
            for (offset, byte) in bytes.iter().take(3).enumerate() {
                let length = payload.len();
                payload[at.wrapping_add(offset) % length] ^= byte;
            }
            if let Some(hot) = read(&payload) {
                let request = decode_request(&payload);
                prop_assert_eq!(request.map(|request| (request.id, request.command.kind())), Ok((hot.id, hot.ask.kind())));
            }
        }
    }

    #[test]
    fn integers_are_as_short_as_they_can_be() {
        let limits =
            [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, (1 << 53) - 1];
        for value in limits {
            let mut piece = Piece([0; 16], 0);
            piece.integer(value);
            let mut expected = Vec::new();
            rmp::encode::write_uint(&mut expected, value).unwrap();
            assert_eq!(&piece.0[..piece.1], expected, "{value}");
        }
    }
}
