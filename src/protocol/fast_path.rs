//! Reads the most frequent requests and writes their replies without serde. A request is read from
//! the connection's buffer, and its reply is written into the send queue. Nothing is allocated.
//!
//! This module knows only the plain form of a request, without its rare arguments.
//! [`super::decode_request`] takes any other form and all malformed requests. So this module makes
//! no errors.
//!
//! Invariants:
//! - `decode_request` accepts every request that [`read`] accepts, as the same request.
//! - A reply is byte for byte what `encode_reply` writes.

use bytes::BytesMut;

use super::CONNECTION_ID;
use super::frame::{HEADER_BYTES, OpenFrame};
use super::msgpack::ValueReader;
use super::reply::STATUS_OK;
use crate::command::advance::{AdvanceRef, AdvanceReply};
use crate::command::detail::ChatItemRef;
use crate::command::list::ListRowRef;
use crate::command::list_writer::{self, ListEncoder};
use crate::command::mark_read::{MarkReadRef, MarkReadReply};
use crate::command::{Check, Kind};
use crate::limits::{ID_BYTES_MAX, REPLY_BYTES_MAX};
use crate::types::{Hashed, KeyHasher, Sequence, TimeMs, is_id};

/// Most ids of a `detail` on the fast path.
pub const IDS_MAX: usize = 64;
/// Most rows of a `list` on the fast path. They fit into one frame even with the longest ids.
pub const ROWS_MAX: usize = 4096;

const _: () = assert!(ROWS_MAX * ROW_BYTES_MAX < REPLY_BYTES_MAX && ROWS_MAX < 1 << 16);
const _: () = assert!(IDS_MAX * ITEM_BYTES_MAX < REPLY_BYTES_MAX);

/// A request in the form of the fast path, borrowed from the input of its connection.
#[derive(Debug, Clone, Copy)]
pub struct PlainRequest<'a> {
    /// The client's number for the request; the reply repeats it.
    pub id: u64,
    /// The command and its arguments.
    pub command: PlainCommand<'a>,
}

/// The command of a [`PlainRequest`], with its arguments.
#[derive(Debug, Clone, Copy)]
pub enum PlainCommand<'a> {
    /// `list` without limit and cursor: all rows.
    List {
        /// The user whose rows are listed.
        user_id: Hashed<'a>,
    },
    /// `detail` of a few chats.
    Detail {
        /// The chats: one to [`IDS_MAX`].
        ids: Ids<'a>,
        /// The user who looks; `None` if the request names none.
        user_id: Option<Hashed<'a>>,
    },
    /// `advance` without an idempotency key.
    Advance(AdvanceRef<'a>),
    /// `mark_read` without an idempotency key.
    MarkRead(MarkReadRef<'a>),
}

impl<'a> PlainCommand<'a> {
    /// The kind of the command, for metrics and for the check of the role.
    pub fn kind(self) -> Kind {
        match self {
            Self::List { .. } => Kind::List,
            Self::Detail { .. } => Kind::Detail,
            Self::Advance(_) => Kind::Advance,
            Self::MarkRead(_) => Kind::MarkRead,
        }
    }

    /// The user whose rows the command reads or changes; `None` if it names none.
    pub fn user_id(self) -> Option<Hashed<'a>> {
        match self {
            Self::List { user_id } => Some(user_id),
            Self::Detail { user_id, .. } => user_id,
            Self::Advance(_) => None,
            Self::MarkRead(read) => Some(read.user_id),
        }
    }
}

/// The ids of a `detail`, still encoded in the input of its connection. [`read`] has checked each.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    reader: ValueReader<'a>,
    left: usize,
    hasher: KeyHasher,
}

impl<'a> Iterator for Ids<'a> {
    type Item = Hashed<'a>;

    fn next(&mut self) -> Option<Hashed<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.reader.short_text().map(|id| self.hasher.hashed(id))
    }
}

/// Reads the payload of a frame, and hashes its keys. Returns `None` unless it is one of the four
/// commands in its plain form.
pub fn read(payload: &[u8], hasher: KeyHasher) -> Option<PlainRequest<'_>> {
    let mut reader = ValueReader::new(payload);
    let 3 = reader.array()? else { return None };
    let id = reader.unsigned().filter(|id| *id != CONNECTION_ID)?;
    let kind = u8::try_from(reader.unsigned()?).ok().and_then(Kind::from_code)?;
    let mut arguments = Arguments { left: reader.array()?, reader, hasher };
    let command = match kind {
        Kind::List => PlainCommand::List { user_id: arguments.id()? },
        Kind::Detail => {
            PlainCommand::Detail { ids: arguments.ids()?, user_id: arguments.next(checked)? }
        }
        Kind::Advance => PlainCommand::Advance(arguments.advance()?),
        Kind::MarkRead => PlainCommand::MarkRead(MarkReadRef {
            user_id: arguments.id()?,
            chat_id: arguments.id()?,
            seq: arguments.next(sequence)??,
            idempotency_key: None,
            if_version: None,
        }),
        _ => return None,
    };
    // `list` may end in `limit` and `cursor`, the others in an idempotency key and a version. The
    // plain form has none of them, or nil.
    arguments.end(if kind == Kind::Detail { 0 } else { 2 })?;
    Some(PlainRequest { id, command })
}

/// Reads the arguments of a request one by one, in place.
struct Arguments<'a> {
    reader: ValueReader<'a>,
    left: usize,
    hasher: KeyHasher,
}

impl<'a> Arguments<'a> {
    /// Reads the next argument. `Some(None)` means that it is nil, or left out at the end. `None`
    /// means that it has another type than `read` expects.
    fn next<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let Some(left) = self.left.checked_sub(1) else { return Some(None) };
        self.left = left;
        match self.reader.nil() {
            true => Some(None),
            false => read(self).map(Some),
        }
    }

    /// Reads an id. Returns `None` if it is absent or invalid.
    fn id(&mut self) -> Option<Hashed<'a>> {
        self.next(checked)?
    }

    /// Reads a list of one to [`IDS_MAX`] ids.
    fn ids(&mut self) -> Option<Ids<'a>> {
        self.next(|arguments| {
            let left = arguments.reader.array().filter(|left| (1..=IDS_MAX).contains(left))?;
            let ids = Ids { reader: arguments.reader, left, hasher: arguments.hasher };
            (0..left).try_for_each(|_| {
                arguments.reader.short_text().filter(|bytes| is_id(bytes)).map(|_| ())
            })?;
            Some(ids)
        })?
    }

    /// Reads the arguments of `advance`, up to its idempotency key.
    fn advance(&mut self) -> Option<AdvanceRef<'a>> {
        let advance = AdvanceRef {
            chat_id: self.id()?,
            to: self.next(sequence)?,
            allocate: self.next(|arguments| arguments.reader.unsigned())?,
            time: self.next(|arguments| TimeMs::new(arguments.reader.unsigned()?).ok())?,
            sender_id: self.next(checked)?,
            force: self.next(|arguments| arguments.reader.boolean())?,
            idempotency_key: None,
            if_version: None,
        };
        advance.check().ok()?;
        Some(advance)
    }

    /// Succeeds if at most `absent` arguments are left, all of them nil, and no bytes follow them.
    fn end(mut self, absent: usize) -> Option<()> {
        if self.left > absent {
            return None;
        }
        (0..self.left).try_for_each(|_| self.reader.nil().then_some(()))?;
        self.reader.end().ok()
    }
}

fn checked<'a>(arguments: &mut Arguments<'a>) -> Option<Hashed<'a>> {
    let id = arguments.reader.short_text().filter(|bytes| is_id(bytes))?;
    Some(arguments.hasher.hashed(id))
}

fn sequence(arguments: &mut Arguments<'_>) -> Option<Sequence> {
    Sequence::new(arguments.reader.unsigned()?).ok()
}

/// Bytes of the longest id as MessagePack, with its head.
const TEXT_BYTES_MAX: usize = 2 + ID_BYTES_MAX;
/// Bytes of the longest integer as MessagePack.
const INTEGER_BYTES_MAX: usize = 9;
/// Bytes of the longest row of a `list`, plus the bytes that [`Room::integer`] may write beyond
/// the end of an integer.
const ROW_BYTES_MAX: usize = 1 + TEXT_BYTES_MAX + 4 + 2 * INTEGER_BYTES_MAX + INTEGER_BYTES_MAX;
const ITEM_BYTES_MAX: usize =
    1 + 2 * TEXT_BYTES_MAX + 3 + 4 * INTEGER_BYTES_MAX + INTEGER_BYTES_MAX;

/// Most bytes by which the output grows in one step; more than any row or item needs.
const ROOM_BYTES: usize = 4096;
/// Bytes that most rows and items do not exceed. A reply first gets room for that many of each.
const USUAL_BYTES: usize = 64;

const _: () = assert!(ROW_BYTES_MAX < ROOM_BYTES && ITEM_BYTES_MAX < ROOM_BYTES);

/// Appends the reply to a `list` of all rows, at most [`ROWS_MAX`] of them.
pub fn write_list<'r>(
    id: u64,
    rows: impl ExactSizeIterator<Item = ListRowRef<'r>>,
    out: &mut BytesMut,
) {
    let mut frame = ReplyFrame::begin(id, rows.len(), out, |_| ());
    list_writer::write_list(rows, &mut frame);
    frame.finish();
}

/// Appends the reply to a `detail` of at most [`IDS_MAX`] items.
pub fn write_detail(id: u64, items: &[ChatItemRef<'_>], out: &mut BytesMut) {
    let mut frame = ReplyFrame::begin(id, items.len(), out, |room| {
        room.array(1);
        room.array(items.len());
    });
    frame.each::<ITEM_BYTES_MAX, _>(items.iter(), |room, item| {
        room.byte(ARRAY_FIX | 9);
        room.text(item.id.as_str());
        room.text(item.creator_id);
        room.put([item.chat_type.code(), item.status.code(), u8::from(item.is_enc.0)], 3);
        room.integer(item.last_read_sequence.get());
        room.integer(item.last_sequence.get());
        room.integer(item.last_time.get());
        room.integer(item.created_at.get());
    });
    frame.finish();
}

/// Appends the reply to an `advance`, as `encode_reply` would write it.
pub fn write_advance(id: u64, reply: &AdvanceReply, out: &mut BytesMut) {
    let values = [reply.first_sequence.get(), reply.last_sequence.get(), reply.last_time.get()];
    write_integers(id, &values, out);
}

/// Appends the reply to a `mark_read`, as `encode_reply` would write it.
pub fn write_mark_read(id: u64, reply: &MarkReadReply, out: &mut BytesMut) {
    write_integers(id, &[reply.max_read_seq.get(), reply.unread], out);
}

fn write_integers(id: u64, values: &[u64], out: &mut BytesMut) {
    let frame = ReplyFrame::begin(id, 0, out, |room| {
        room.array(values.len());
        values.iter().for_each(|value| room.integer(*value));
    });
    frame.finish();
}

const NIL: u8 = 0xc0;
/// The marker of an array of up to 15 elements, without its length.
const ARRAY_FIX: u8 = 0x90;
/// Most bytes before the rows or items of a reply. A whole reply to `advance` has no more.
const HEAD_BYTES_MAX: usize = HEADER_BYTES + 8 * INTEGER_BYTES_MAX;

/// The frame of a successful reply, or a part of it, while it is being written.
pub(super) struct ReplyFrame<'o> {
    out: &'o mut BytesMut,
    start: usize,
    /// The position of the next byte. The bytes of `out` behind it are room, and their content is
    /// stale.
    at: usize,
}

impl<'o> ReplyFrame<'o> {
    /// Continues a frame at the end of `out`, without its header. [`Self::end_part`] must follow.
    pub(super) fn part(out: &'o mut BytesMut) -> Self {
        let at = out.len();
        Self { out, start: at, at }
    }

    /// Ends what [`Self::part`] began: removes the room that was not used.
    pub(super) fn end_part(self) {
        self.out.truncate(self.at);
    }

    /// Begins the frame of a reply with `items` rows or items. Writes all that stands before them.
    fn begin(
        id: u64,
        items: usize,
        out: &'o mut BytesMut,
        head: impl FnOnce(&mut Room<'_, HEAD_BYTES_MAX>),
    ) -> Self {
        let start = out.len();
        let mut frame = Self { out, start, at: start + HEADER_BYTES };
        frame.make_room(HEAD_BYTES_MAX + (items * USUAL_BYTES).min(ROOM_BYTES));
        frame.write(|room| {
            room.byte(ARRAY_FIX | 3);
            room.integer(id);
            room.integer(STATUS_OK.into());
            head(room);
        });
        frame
    }

    /// Writes rows or items one by one. Each takes at most `MAX` bytes.
    #[inline(always)]
    fn each<const MAX: usize, T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        write: impl Fn(&mut Room<'_, MAX>, T),
    ) {
        let mut left = items.len();
        for item in items {
            if self.out.len() < self.at + MAX {
                self.make_room((left * USUAL_BYTES).clamp(MAX, ROOM_BYTES));
            }
            left = left.saturating_sub(1);
            self.write(|room| write(room, item));
        }
    }

    fn make_room(&mut self, bytes: usize) {
        self.out.resize(self.at + bytes, 0);
    }

    /// Writes the next bytes, at most `MAX`. The caller must have made the room for them.
    #[inline(always)]
    fn write<const MAX: usize>(&mut self, write: impl FnOnce(&mut Room<'_, MAX>)) {
        let room = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut);
        debug_assert!(room.is_some(), "room was made for the most there can be");
        if let Some(bytes) = room {
            let mut room = Room { bytes, at: 0 };
            write(&mut room);
            self.at += room.at;
        }
    }

    fn finish(self) {
        self.out.truncate(self.at);
        let finished = OpenFrame::at(self.start).finish(self.out, REPLY_BYTES_MAX);
        debug_assert!(finished.is_ok(), "so few rows and items always fit");
    }
}

impl ListEncoder for ReplyFrame<'_> {
    #[inline(always)]
    fn begin(&mut self, rows: usize) {
        if self.out.len() < self.at + HEAD_BYTES_MAX {
            self.make_room(HEAD_BYTES_MAX);
        }
        self.write::<HEAD_BYTES_MAX>(|room| {
            room.array(2);
            room.array(rows);
        });
    }

    #[inline(always)]
    fn rows<'r>(&mut self, rows: impl ExactSizeIterator<Item = ListRowRef<'r>>) {
        self.each::<ROW_BYTES_MAX, _>(rows, |room, row| {
            room.byte(ARRAY_FIX | 7);
            room.text(row.chat_id.as_str());
            let flags = [row.is_top, row.is_mute, row.is_show, row.is_hide];
            room.put(flags.map(|flag| u8::from(flag.0)), 4);
            room.integer(row.max_read_seq.get());
            room.integer(row.last_online_time.get());
        });
    }

    #[inline(always)]
    fn end(&mut self, next_cursor: Option<&str>) {
        match next_cursor {
            None => self.each::<1, _>([NIL].into_iter(), |room, nil| room.byte(nil)),
            Some(cursor) => {
                self.each::<TEXT_BYTES_MAX, _>([cursor].into_iter(), |room, text| room.text(text));
            }
        }
    }
}

/// Room for the next bytes of a reply; the first `at` bytes of it are written.
///
/// Each byte is written at its final place. If a part were built elsewhere and copied, the copy
/// would wait: a processor cannot forward several small stores to one wide load. All writes have a
/// fixed size, so each is one or two stores.
struct Room<'p, const MAX: usize> {
    bytes: &'p mut [u8; MAX],
    at: usize,
}

impl<const MAX: usize> Room<'_, MAX> {
    /// Writes all of `bytes`, but advances only by `count`. The next write replaces the rest.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        if let Some(place) = self.bytes.get_mut(self.at..self.at + N) {
            place.copy_from_slice(&bytes);
        }
        self.at += count;
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.put([byte], 1);
    }

    fn array(&mut self, len: usize) {
        match u16::try_from(len) {
            Ok(short @ 0..=15) => self.byte(ARRAY_FIX | short.to_be_bytes()[1]),
            Ok(long) => {
                self.byte(0xdc);
                self.put(long.to_be_bytes(), 2);
            }
            Err(_) => {
                self.byte(0xdd);
                // A count beyond u32 never fits into a frame, so any value will do.
                self.put(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes(), 4);
            }
        }
    }

    #[inline(always)]
    fn text(&mut self, text: &str) {
        let Ok(len) = u8::try_from(text.len()) else {
            debug_assert!(false, "an id is short");
            return;
        };
        match len {
            0..=31 => self.byte(0xa0 | len),
            _ => self.put([0xd9, len], 2),
        }
        let end = self.at + usize::from(len);
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            copy(place, text.as_bytes());
        }
        self.at = end;
    }

    /// Writes a marker and eight bytes, and keeps as many of them as the value needs. A fixed size
    /// leaves no branch to mispredict.
    #[inline(always)]
    fn integer(&mut self, value: u64) {
        let short = usize::try_from(value.leading_zeros()).unwrap_or_default();
        let form = FORMS.get(short).copied().unwrap_or_default();
        let [.., low] = value.to_be_bytes();
        self.byte(form.marker | low & form.own);
        self.put((value << form.shift).to_be_bytes(), form.bytes.into());
    }
}

/// How MessagePack encodes the integers with a certain number of leading zeros.
#[derive(Debug, Clone, Copy, Default)]
struct Form {
    marker: u8,
    /// A mask for the bits of the value that the marker's own byte holds.
    own: u8,
    /// How many bytes of the value follow the marker.
    bytes: u8,
    /// How far to shift the value left, so that the bytes behind the marker come first.
    shift: u8,
}

/// How MessagePack encodes integers, indexed by the number of leading zeros.
#[expect(
    clippy::indexing_slicing,
    reason = "it is done while compiling, and would be an error there"
)]
static FORMS: [Form; 65] = {
    let mut forms = [Form { marker: 0, own: 0x7f, bytes: 0, shift: 0 }; 65];
    let mut zeros = 0;
    while zeros < 57 {
        let (marker, bytes) = match zeros {
            0..=31 => (0xcf, 8),
            32..=47 => (0xce, 4),
            48..=55 => (0xcd, 2),
            _ => (0xcc, 1),
        };
        forms[zeros] = Form { marker, own: 0, bytes, shift: 64 - 8 * bytes };
        zeros += 1;
    }
    forms
};

/// Copies a text. The usual lengths of an id need no call to `memcpy`.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        4..=7 => copy_ends::<4>(to, from),
        8..=15 => copy_ends::<8>(to, from),
        16..=31 => copy_ends::<16>(to, from),
        32..=63 => copy_ends::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first `N` and the last `N` bytes. Together they are the whole text, as it has `N` to
/// `2 * N` bytes.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{decode_request, encode_reply, encode_request, frame};
    use super::*;
    use crate::command::detail::DetailReply;
    use crate::command::list::ListReply;
    use crate::command::test_values::Choices;
    use crate::command::{Command, Reply};

    const HASHER: KeyHasher = KeyHasher::new(7);

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_reads(choices: Vec<u64>, request_id in 1..=u64::MAX) {
            for &kind in Kind::ALL {
                let command = Choices::new(&choices).command(kind);
                let mut out = BytesMut::new();
                encode_request(request_id, &command, &mut out).unwrap();
                let payload = frame::next(&mut out, usize::MAX).unwrap().unwrap();
                let fast = read(&payload, HASHER);
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
                prop_assert_eq!(fast.is_some(), is_plain);
                let Some(PlainRequest { id, command: plain }) = fast else { continue };
                prop_assert_eq!(id, request_id);
                match (&command, plain) {
                    (Command::List(list), PlainCommand::List { user_id }) => {
                        prop_assert_eq!(HASHER.hashed(list.user_id.as_str()), user_id);
                    }
                    (Command::Detail(detail), PlainCommand::Detail { ids, user_id }) => {
                        let asked = detail.ids.iter().map(|id| HASHER.hashed(id.as_str().as_bytes()));
                        prop_assert!(asked.eq(ids));
                        let asked = detail.user_id.as_ref().map(|id| HASHER.hashed(id.as_str()));
                        prop_assert_eq!(asked, user_id);
                    }
                    (Command::Advance(advance), PlainCommand::Advance(read)) => {
                        prop_assert_eq!(advance.as_ref(HASHER), read);
                    }
                    (Command::MarkRead(read), PlainCommand::MarkRead(fast)) => {
                        prop_assert_eq!(HASHER.hashed(read.user_id.as_str()), fast.user_id);
                        prop_assert_eq!(HASHER.hashed(read.chat_id.as_str()), fast.chat_id);
                        prop_assert_eq!(read.seq, fast.seq);
                    }
                    _ => prop_assert!(false, "another command was read"),
                }
            }
        }

        #[test]
        fn what_is_written_is_what_serde_writes(choices: Vec<u64>, id in 1..=u64::MAX) {
            for kind in [Kind::List, Kind::Detail, Kind::Advance, Kind::MarkRead] {
                let mut reply = Choices::new(&choices).reply(kind);
                let mut fast = BytesMut::from(&b"before"[..]);
                match &mut reply {
                    Reply::List(ListReply { items, next_cursor }) => {
                        *next_cursor = None;
                        let rows = items.iter().map(|row| row.with_id(&row.chat_id));
                        write_list(id, rows, &mut fast);
                    }
                    Reply::Detail(DetailReply { items }) => {
                        let items =
                            items.iter().map(|item| item.with_ids(&item.id, item.creator_id.as_str()));
                        write_detail(id, &items.collect::<Vec<_>>(), &mut fast);
                    }
                    Reply::Advance(reply) => write_advance(id, reply, &mut fast),
                    Reply::MarkRead(reply) => write_mark_read(id, reply, &mut fast),
                    _ => prop_assert!(false, "another reply was drawn"),
                }
                let mut serde = BytesMut::from(&b"before"[..]);
                encode_reply(id, &Ok(reply), &mut serde);
                prop_assert_eq!(fast, serde);
            }
        }

        #[test]
        fn what_serde_refuses_is_not_read(bytes: Vec<u8>, choices: Vec<u64>, at: usize) {
            let mut out = BytesMut::new();
            let kind = [Kind::List, Kind::Detail, Kind::Advance, Kind::MarkRead][at % 4];
            encode_request(7, &Choices::new(&choices).command(kind), &mut out).unwrap();
            let mut payload = frame::next(&mut out, usize::MAX).unwrap().unwrap().to_vec();
            for (offset, byte) in bytes.iter().take(3).enumerate() {
                let length = payload.len();
                payload[at.wrapping_add(offset) % length] ^= byte;
            }
            if let Some(fast) = read(&payload, HASHER) {
                let request = decode_request(&payload);
                prop_assert_eq!(request.map(|request| (request.id, request.command.kind())), Ok((fast.id, fast.command.kind())));
            }
        }
    }

    #[test]
    fn integers_are_as_short_as_they_can_be() {
        let limits =
            [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, (1 << 53) - 1];
        for value in limits {
            let mut out = BytesMut::new();
            write_integers(1, &[value], &mut out);
            let mut expected = Vec::new();
            rmp::encode::write_uint(&mut expected, value).unwrap();
            assert!(out.ends_with(&expected), "{value}: {out:?}");
            // The frame's header, the array, the id, the status and the array of values come first.
            assert_eq!(out.len(), HEADER_BYTES + 5 + expected.len(), "{value}");
        }
    }
}
