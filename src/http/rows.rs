//! Encodes the rows of a list as JSON, without serde.
//!
//! Most of what the HTTP door sends are pages of fifty rows. For such a page serde would write four
//! hundred field names one by one, and check each of their bytes.
//!
//! Invariant: the bytes are exactly those that serde_json writes.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use super::long::Parts;
use crate::command::list::{ListReply, ListRowRef};
use crate::command::list_writer::{ListEncoder, ListSlices};

/// Bytes of a typical row as JSON, with two ids of 18 bytes.
const ROW_BYTES: usize = 176;

/// The JSON between a row's ids and its numbers, with all flags 0.
const FLAGS: [u8; 63] = *br#","is_top":0,"is_mute":0,"is_show":0,"is_hide":0,"max_read_seq":"#;
/// Where the digits of the four flags are in [`FLAGS`].
const FLAGS_AT: [usize; 4] = [10, 22, 34, 46];

/// About how many bytes the JSON of `rows` rows has.
pub(super) fn bytes_of(rows: usize) -> usize {
    64 + rows * ROW_BYTES
}

/// Writes a list in parts, one slice of rows each.
pub(super) fn parts(list: ListReply, is_page: bool) -> impl Parts {
    let mut slices = ListSlices::new(list);
    move |out: &mut Vec<u8>| Ok(slices.write_slice(&mut JsonList::new(out, is_page)))
}

/// The value of `data` in the answer to a list: `{"items":[...]}`, and `next_cursor` if it is a
/// page.
pub(super) struct JsonList<'o> {
    out: &'o mut Vec<u8>,
    has_rows: bool,
    is_page: bool,
}

impl<'o> JsonList<'o> {
    /// Continues the list at the end of `out`, which has rows already; `begin` starts a new list.
    /// With `is_page`, the list ends with `next_cursor`, which is null on the last page.
    pub(super) fn new(out: &'o mut Vec<u8>, is_page: bool) -> Self {
        Self { out, has_rows: true, is_page }
    }

    fn row(&mut self, row: &ListRowRef<'_>) {
        if std::mem::replace(&mut self.has_rows, true) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(br#"{"id":"#);
        let id = self.out.len();
        self.text(row.chat_id.as_str());
        let id = id..self.out.len();
        self.out.extend_from_slice(br#","chat_id":"#);
        self.out.extend_from_within(id);
        self.out.extend_from_slice(&flags(row));
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(row.max_read_seq.get()).as_bytes());
        self.out.extend_from_slice(br#","last_online_time":"#);
        self.out.extend_from_slice(digits.format(row.last_online_time.get()).as_bytes());
        self.out.push(b'}');
    }

    /// Writes an id or a cursor as a JSON string. Neither has control characters, so only quotes
    /// and backslashes are escaped.
    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        match text.bytes().any(is_escaped) {
            false => self.out.extend_from_slice(text.as_bytes()),
            true => {
                for byte in text.bytes() {
                    self.out.extend(is_escaped(byte).then_some(b'\\'));
                    self.out.push(byte);
                }
            }
        }
        self.out.push(b'"');
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

impl ListEncoder for JsonList<'_> {
    fn begin(&mut self, _: usize) {
        self.out.extend_from_slice(br#"{"items":["#);
        self.has_rows = false;
    }

    fn rows<'r>(&mut self, rows: impl ExactSizeIterator<Item = ListRowRef<'r>>) {
        for row in rows {
            self.row(&row);
        }
    }

    fn end(&mut self, next_cursor: Option<&str>) {
        self.out.push(b']');
        if self.is_page {
            self.out.extend_from_slice(br#","next_cursor":"#);
            match next_cursor {
                Some(cursor) => self.text(cursor),
                None => self.out.extend_from_slice(b"null"),
            }
        }
        self.out.push(b'}');
    }
}

/// Returns all four flags as one text: each append checks the buffer's capacity, so one is cheaper
/// than four.
fn flags(row: &ListRowRef<'_>) -> [u8; FLAGS.len()] {
    let mut flags = FLAGS;
    for (at, flag) in FLAGS_AT.into_iter().zip([row.is_top, row.is_mute, row.is_show, row.is_hide])
    {
        if let Some(digit) = flags.get_mut(at) {
            *digit += u8::from(flag.0);
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use serde_json::{Value, json};

    use super::*;
    use crate::command::list::ListRow;
    use crate::command::list_writer::write_list;
    use crate::limits::{INTEGER_MAX, SCAN_ROWS};
    use crate::types::{ChatId, Flag, Sequence, TimeMs};

    fn a_row() -> impl Strategy<Value = ListRow> {
        let id = "[\"\\\\/a-zä漢🙂 ]{1,20}".prop_map(|id| ChatId::new(&id).unwrap());
        let flag = || any::<bool>().prop_map(Flag);
        let number = || prop_oneof![0..10_u64, 0..=INTEGER_MAX];
        (id, flag(), flag(), flag(), flag(), number(), number()).prop_map(
            |(chat_id, is_top, is_mute, is_show, is_hide, read, online)| ListRow {
                chat_id,
                is_top,
                is_mute,
                is_show,
                is_hide,
                max_read_seq: Sequence::new(read).unwrap(),
                last_online_time: TimeMs::new(online).unwrap(),
            },
        )
    }

    fn in_slices(list: ListReply, is_page: bool) -> (usize, Value) {
        let (mut slices, mut out, mut count) = (parts(list, is_page), Vec::new(), 1);
        while slices(&mut out).unwrap() {
            count += 1;
        }
        (count, serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn slices_make_up_the_whole() {
        let a_row = a_row().new_tree(&mut TestRunner::deterministic()).unwrap().current();
        for rows in [0, 1, SCAN_ROWS, SCAN_ROWS + 1, 3 * SCAN_ROWS] {
            for next_cursor in [None, Some("n\"17".to_owned())] {
                let list = ListReply { items: vec![a_row.clone(); rows], next_cursor };
                let (count, page) = in_slices(list.clone(), true);
                assert_eq!(page, json!(list));
                assert_eq!(count, rows.div_ceil(SCAN_ROWS).max(1));
                assert_eq!(in_slices(list.clone(), false), (count, json!({"items": list.items})));
            }
        }
    }

    proptest! {
        #[test]
        fn rows_are_written_as_serde_writes_them(rows in vec(a_row(), 0..5)) {
            let mut written = Vec::new();
            let borrowed = rows.iter().map(|row| row.with_id(&row.chat_id));
            write_list(borrowed, &mut JsonList::new(&mut written, false));
            let items = serde_json::to_string(&rows).unwrap();
            let by_serde = format!("{{\"items\":{items}}}");
            prop_assert_eq!(String::from_utf8(written).unwrap(), by_serde);
        }
    }
}
