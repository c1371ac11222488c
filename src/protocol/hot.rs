//! The requests that are most of the load, without serde: a request is looked at where it lies, and its
//! reply is written where it leaves from. Nothing is allocated.
//!
//! Only the plain form of a request is known here; whatever else comes takes the way of
//! [`super::decode_request`], which also makes the errors. So there are no errors in this file.
//!
//! Invariants:
//! - What [`read`] takes, `decode_request` takes too, and as the same request.
//! - What is written is byte for byte what `encode_reply` writes.

use bytes::BytesMut;

use super::CONNECTION_ID;
use super::frame::{HEADER_BYTES, Open};
use super::reply::STATUS_OK;
use super::walk::{Head, Reader};
use crate::command::membership::{ChatItemRef, ListRowRef};
use crate::command::message::{AdvanceRef, AdvanceReply, MarkReadRef, MarkReadReply};
use crate::command::{Check, Kind};
use crate::limits::{ID_BYTES_MAX, REPLY_BYTES_MAX};
use crate::types::{Sequence, TimeMs, is_id};

/// Most ids of a `detail` that is read here.
pub const IDS_MAX: usize = 64;
/// Most rows of a `list` that is written here: so many fit into a reply whatever their ids are.
pub const ROWS_MAX: usize = 4096;

/// Arguments of `advance`, the key and the version at their end.
const ADVANCE_ARGUMENTS: usize = 8;

const _: () = assert!(ROWS_MAX * ROW_BYTES_MAX < REPLY_BYTES_MAX && ROWS_MAX < 1 << 16);
const _: () = assert!(IDS_MAX * ITEM_BYTES_MAX < REPLY_BYTES_MAX);

/// A request in its plain form.
#[derive(Debug, Clone, Copy)]
pub struct HotRequest<'a> {
    /// The client's number for it.
    pub id: u64,
    /// What is asked.
    pub ask: Ask<'a>,
}

/// What a [`HotRequest`] asks.
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
    /// `advance` without an idempotency key.
    Advance(AdvanceRef<'a>),
    /// `mark_read` without a key.
    MarkRead(MarkReadRef<'a>),
}

impl<'a> Ask<'a> {
    /// The command.
    pub fn kind(self) -> Kind {
        match self {
            Self::List { .. } => Kind::List,
            Self::Detail { .. } => Kind::Detail,
            Self::Advance(_) => Kind::Advance,
            Self::MarkRead(_) => Kind::MarkRead,
        }
    }

    /// The user whose rows it is about.
    pub fn user_id(self) -> Option<&'a str> {
        match self {
            Self::List { user_id } => Some(user_id),
            Self::Detail { user_id, .. } => user_id,
            Self::Advance(_) => None,
            Self::MarkRead(read) => Some(read.user_id),
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
        // Whether it may be an id was looked at when the request was read.
        std::str::from_utf8(self.reader.short_text()?).ok()
    }
}

/// The request in a frame's payload, if it is one of these in its plain form.
pub fn read(payload: &[u8]) -> Option<HotRequest<'_>> {
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
                id(&mut reader)?;
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
        Kind::Advance if (2..=ADVANCE_ARGUMENTS).contains(&arguments) => {
            Ask::Advance(advance(&mut reader, arguments)?)
        }
        Kind::MarkRead if (3..=5).contains(&arguments) => {
            let (user_id, chat_id) = (id(&mut reader)?, id(&mut reader)?);
            let seq = Sequence::new(integer(reader.head().ok()?)?).ok()?;
            nils(&mut reader, arguments - 3)?;
            Ask::MarkRead(MarkReadRef { user_id, chat_id, seq })
        }
        _ => return None,
    };
    reader.end().ok()?;
    Some(HotRequest { id: request_id, ask })
}

fn advance<'a>(reader: &mut Reader<'a>, arguments: usize) -> Option<AdvanceRef<'a>> {
    let mut heads = [Head::Nil; ADVANCE_ARGUMENTS];
    for head in heads.iter_mut().take(arguments) {
        *head = reader.head().ok()?;
    }
    let [chat_id, to, allocate, time, sender_id, force, Head::Nil, Head::Nil] = heads else {
        return None;
    };
    let advance = AdvanceRef {
        chat_id: text(chat_id)?,
        to: optional(to, |to| Sequence::new(integer(to)?).ok())?,
        allocate: optional(allocate, integer)?,
        time: optional(time, |time| TimeMs::new(integer(time)?).ok())?,
        sender_id: optional(sender_id, text)?,
        force: optional(force, |force| match force {
            Head::Bool(force) => Some(force),
            _ => None,
        })?,
        if_version: None,
    };
    advance.check().ok()?;
    Some(advance)
}

/// A value that may be nil; nothing if it is another than it should be.
fn optional<'a, T>(head: Head<'a>, read: impl FnOnce(Head<'a>) -> Option<T>) -> Option<Option<T>> {
    match head {
        Head::Nil => Some(None),
        head => read(head).map(Some),
    }
}

/// The next id, checked.
fn id<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    checked(reader.short_text()?)
}

fn text(head: Head<'_>) -> Option<&str> {
    match head {
        Head::Text(bytes) => checked(bytes),
        _ => None,
    }
}

fn checked(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| is_id(text))
}

fn integer(head: Head<'_>) -> Option<u64> {
    match head {
        Head::Unsigned(value) => Some(value),
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

/// Room that is made at a time, in bytes; more than a row or an item may take.
const ROOM_BYTES: usize = 4096;
/// What a row or an item usually takes at most, in bytes.
const USUAL_BYTES: usize = 64;

const _: () = assert!(ROW_BYTES_MAX < ROOM_BYTES && ITEM_BYTES_MAX < ROOM_BYTES);

/// Appends the reply of a `list` of all rows: at most [`ROWS_MAX`].
pub fn write_list<'r>(
    id: u64,
    rows: impl ExactSizeIterator<Item = ListRowRef<'r>>,
    out: &mut BytesMut,
) {
    let mut frame = Frame::begin(id, out);
    frame.array(2);
    frame.array(rows.len());
    frame.rows(rows);
    frame.make_room(1, 1);
    frame.byte(NIL);
    frame.finish();
}

/// Appends rows of a `list`, in the middle of its reply.
pub(super) fn write_rows<'r>(
    rows: impl ExactSizeIterator<Item = ListRowRef<'r>>,
    out: &mut BytesMut,
) {
    let at = out.len();
    let mut frame = Frame { out, start: at, at };
    frame.rows(rows);
    frame.out.truncate(frame.at);
}

/// Appends the reply of a `detail`: at most [`IDS_MAX`] items.
pub fn write_detail<'c>(
    id: u64,
    items: impl ExactSizeIterator<Item = ChatItemRef<'c>>,
    out: &mut BytesMut,
) {
    let mut frame = Frame::begin(id, out);
    frame.array(1);
    frame.array(items.len());
    let mut left = items.len();
    for item in items {
        frame.make_room(ITEM_BYTES_MAX, left * USUAL_BYTES);
        left = left.saturating_sub(1);
        frame.byte(ARRAY_FIX | 9);
        frame.text(item.id.as_str());
        frame.text(item.creator_id);
        frame.bytes(&[item.chat_type.code(), item.status.code(), u8::from(item.is_enc.0)]);
        frame.integer(item.last_read_sequence.get());
        frame.integer(item.last_sequence.get());
        frame.integer(item.last_time.get());
        frame.integer(item.created_at.get());
    }
    frame.finish();
}

/// Appends the reply of an `advance`.
pub fn write_advance(id: u64, reply: &AdvanceReply, out: &mut BytesMut) {
    let mut frame = Frame::begin(id, out);
    frame.array(3);
    frame.integer(reply.first_sequence.get());
    frame.integer(reply.last_sequence.get());
    frame.integer(reply.last_time.get());
    frame.finish();
}

/// Appends the reply of a `mark_read`.
pub fn write_mark_read(id: u64, reply: &MarkReadReply, out: &mut BytesMut) {
    let mut frame = Frame::begin(id, out);
    frame.array(2);
    frame.integer(reply.max_read_seq.get());
    frame.integer(reply.unread);
    frame.finish();
}

const NIL: u8 = 0xc0;
/// Head of an array of up to 15 elements.
const ARRAY_FIX: u8 = 0x90;
/// Bytes of what stands before the rows or the items, at most, and of an `advance`'s reply.
const HEAD_BYTES_MAX: usize = HEADER_BYTES + 8 * INTEGER_BYTES_MAX;

/// The frame of a successful reply while it is written.
///
/// Everything is written once, to where it stays: to put pieces together elsewhere and copy them would
/// wait for each piece's small stores, as a processor forwards no several of them to one wide load.
struct Frame<'o> {
    out: &'o mut BytesMut,
    start: usize,
    /// Where the next byte goes; what is behind is room, filled with anything.
    at: usize,
}

impl<'o> Frame<'o> {
    fn begin(id: u64, out: &'o mut BytesMut) -> Self {
        let start = out.len();
        let mut frame = Self { out, start, at: start + HEADER_BYTES };
        frame.make_room(HEAD_BYTES_MAX, HEAD_BYTES_MAX);
        frame.byte(ARRAY_FIX | 3);
        frame.integer(id);
        frame.integer(STATUS_OK.into());
        frame
    }

    /// Makes room for what comes next, of at most `bytes_max`; `bytes_left` is about all that will come.
    fn make_room(&mut self, bytes_max: usize, bytes_left: usize) {
        if self.out.len() < self.at + bytes_max {
            self.out.resize(self.at + bytes_left.clamp(bytes_max, ROOM_BYTES), 0);
        }
    }

    fn rows<'r>(&mut self, rows: impl ExactSizeIterator<Item = ListRowRef<'r>>) {
        let mut left = rows.len();
        for row in rows {
            self.make_room(ROW_BYTES_MAX, left * USUAL_BYTES);
            left = left.saturating_sub(1);
            self.row(&row);
        }
    }

    fn row(&mut self, row: &ListRowRef<'_>) {
        self.byte(ARRAY_FIX | 7);
        self.text(row.chat_id.as_str());
        self.bytes(&[
            u8::from(row.is_top.0),
            u8::from(row.is_mute.0),
            u8::from(row.is_show.0),
            u8::from(row.is_hide.0),
        ]);
        self.integer(row.max_read_seq.get());
        self.integer(row.last_online_time.get());
    }

    fn put(&mut self, bytes: &[u8]) {
        // There is room: `make_room` was asked for the most there can be.
        if let Some(place) = self.out.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.put(bytes);
        self.at += bytes.len();
    }

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn array(&mut self, len: usize) {
        match u16::try_from(len) {
            Ok(short @ 0..=15) => self.byte(ARRAY_FIX | short.to_be_bytes()[1]),
            Ok(long) => {
                self.byte(0xdc);
                self.bytes(&long.to_be_bytes());
            }
            Err(_) => debug_assert!(false, "there are at most ROWS_MAX rows"),
        }
    }

    fn text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(short @ 0..=31) => self.byte(0xa0 | short),
            Ok(long) => self.bytes(&[0xd9, long]),
            Err(_) => debug_assert!(false, "an id is short"),
        }
        self.bytes(text.as_bytes());
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
        self.at += 1 + bytes;
    }

    fn finish(self) {
        self.out.truncate(self.at);
        let finished = Open::at(self.start).finish(self.out, REPLY_BYTES_MAX);
        debug_assert!(finished.is_ok(), "so few rows and items always fit");
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
                    Command::Advance(advance) => {
                        advance.idempotency_key.is_none() && advance.if_version.is_none()
                    }
                    Command::MarkRead(read) => {
                        read.idempotency_key.is_none() && read.if_version.is_none()
                    }
                    _ => false,
                };
                prop_assert_eq!(hot.is_some(), is_plain);
                let Some(HotRequest { id, ask }) = hot else { continue };
                prop_assert_eq!(id, request_id);
                match (&command, ask) {
                    (Command::List(list), Ask::List { user_id }) => {
                        prop_assert_eq!(list.user_id.as_str(), user_id);
                    }
                    (Command::Detail(detail), Ask::Detail { ids, user_id }) => {
                        prop_assert!(detail.ids.iter().map(|id| id.as_str()).eq(ids));
                        prop_assert_eq!(detail.user_id.as_ref().map(|id| id.as_str()), user_id);
                    }
                    (Command::Advance(advance), Ask::Advance(read)) => {
                        prop_assert_eq!(advance.as_ref(), read);
                    }
                    (Command::MarkRead(read), Ask::MarkRead(hot)) => {
                        prop_assert_eq!(read.user_id.as_str(), hot.user_id);
                        prop_assert_eq!(read.chat_id.as_str(), hot.chat_id);
                        prop_assert_eq!(read.seq, hot.seq);
                    }
                    _ => prop_assert!(false, "another command was read"),
                }
            }
        }

        #[test]
        fn what_is_written_is_what_serde_writes(choices: Vec<u64>, id in 1..=u64::MAX) {
            for kind in [Kind::List, Kind::Detail, Kind::Advance, Kind::MarkRead] {
                let mut reply = Draw::new(&choices).reply(kind);
                let mut hot = BytesMut::from(&b"before"[..]);
                match &mut reply {
                    Reply::List(ListReply { items, next_cursor }) => {
                        *next_cursor = None;
                        let rows = items.iter().map(|row| row.with_id(&row.chat_id));
                        write_list(id, rows, &mut hot);
                    }
                    Reply::Detail(DetailReply { items }) => {
                        let items =
                            items.iter().map(|item| item.with_ids(&item.id, item.creator_id.as_str()));
                        write_detail(id, items, &mut hot);
                    }
                    Reply::Advance(reply) => write_advance(id, reply, &mut hot),
                    Reply::MarkRead(reply) => write_mark_read(id, reply, &mut hot),
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
            let kind = [Kind::List, Kind::Detail, Kind::Advance, Kind::MarkRead][at % 4];
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
            let mut out = BytesMut::new();
            let mut frame = Frame::begin(1, &mut out);
            let start = frame.at;
            frame.integer(value);
            frame.finish();
            let mut expected = Vec::new();
            rmp::encode::write_uint(&mut expected, value).unwrap();
            assert_eq!(&out[start..], expected, "{value}");
        }
    }
}
