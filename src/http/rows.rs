//! Encodes the rows of a list as JSON, without serde.
//!
//! Pages of fifty rows are most of what this door sends. For such a page serde would write four
//! hundred names one by one, and check each of their bytes.
//!
//! Invariant: the bytes are exactly those that serde_json writes.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::vec::IntoIter;

use crate::command::list::{ListReply, ListRow, ListRowRef};
use crate::limits::SCAN_ROWS;
use crate::types::ChatId;

/// Bytes of a typical row as JSON, with two ids of 18 bytes.
const ROW_BYTES: usize = 176;

/// The bytes between a row's ids and its numbers, and the positions of the flags in them.
const FLAGS: [u8; 63] = *br#","is_top":0,"is_mute":0,"is_show":0,"is_hide":0,"max_read_seq":"#;
const FLAGS_AT: [usize; 4] = [10, 22, 34, 46];

const BEGIN: &[u8] = br#"{"items":["#;

/// Writes `{"items":[...]}`.
///
/// # Errors
/// Those of serde_json, for an id with characters to escape. Writing to memory does not fail.
pub(super) fn write<'r>(
    rows: impl Iterator<Item = ListRowRef<'r>>,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    out.extend_from_slice(BEGIN);
    for (place, row) in rows.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_row(&row, out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

/// About how many bytes the JSON of `rows` rows has.
pub(super) fn bytes_of(rows: usize) -> usize {
    64 + rows * ROW_BYTES
}

/// A list that is encoded in parts.
#[derive(Debug)]
pub(super) struct List {
    rows: IntoIter<ListRow>,
    has_begun: bool,
    /// The value of the field `next_cursor`; `None` if the field is absent.
    next_cursor: Option<Option<String>>,
}

impl List {
    /// All rows of a user, without `next_cursor`, as the API defines it.
    pub(super) fn whole(list: ListReply) -> Self {
        Self { rows: list.items.into_iter(), has_begun: false, next_cursor: None }
    }

    /// A page of rows, with `next_cursor`.
    pub(super) fn page(list: ListReply) -> Self {
        Self {
            next_cursor: Some(list.next_cursor),
            ..Self::whole(ListReply { next_cursor: None, ..list })
        }
    }

    /// Writes the next rows. Returns whether there are more.
    ///
    /// # Errors
    /// Those of serde_json. Writing to memory does not fail.
    pub(super) fn write_part(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        let mut is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first {
            out.extend_from_slice(BEGIN);
        }
        for row in self.rows.by_ref().take(SCAN_ROWS) {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            write_row(&row.with_id(&row.chat_id), out)?;
        }
        if self.rows.len() > 0 {
            return Ok(true);
        }
        out.push(b']');
        if let Some(next_cursor) = &self.next_cursor {
            out.extend_from_slice(br#","next_cursor":"#);
            serde_json::to_writer(&mut *out, next_cursor)?;
        }
        out.push(b'}');
        Ok(false)
    }
}

fn write_row(row: &ListRowRef<'_>, out: &mut Vec<u8>) -> serde_json::Result<()> {
    out.extend_from_slice(br#"{"id":"#);
    let id = out.len();
    write_id(row.chat_id, out)?;
    let id = id..out.len();
    out.extend_from_slice(br#","chat_id":"#);
    out.extend_from_within(id);
    out.extend_from_slice(&flags(row));
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(row.max_read_seq.get()).as_bytes());
    out.extend_from_slice(br#","last_online_time":"#);
    out.extend_from_slice(digits.format(row.last_online_time.get()).as_bytes());
    out.push(b'}');
    Ok(())
}

/// Writes an id as a JSON string. An id has no control characters, but it may have others to
/// escape.
fn write_id(id: &ChatId, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let text = id.as_str().as_bytes();
    if text.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return serde_json::to_writer(out, id);
    }
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
    Ok(())
}

/// Writes all four flags in one piece, because each append checks the buffer's capacity.
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
    use crate::limits::INTEGER_MAX;
    use crate::types::{Flag, Sequence, TimeMs};

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

    fn in_parts(mut list: List) -> (usize, Value) {
        let (mut out, mut parts) = (Vec::new(), 1);
        while list.write_part(&mut out).unwrap() {
            parts += 1;
        }
        (parts, serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn parts_make_up_the_whole() {
        let a_row = a_row().new_tree(&mut TestRunner::deterministic()).unwrap().current();
        for rows in [0, 1, SCAN_ROWS, SCAN_ROWS + 1, 3 * SCAN_ROWS] {
            for next_cursor in [None, Some("n\"17".to_owned())] {
                let list = ListReply { items: vec![a_row.clone(); rows], next_cursor };
                let (parts, page) = in_parts(List::page(list.clone()));
                assert_eq!(page, json!(list));
                assert_eq!(parts, rows.div_ceil(SCAN_ROWS).max(1));
                assert_eq!(
                    in_parts(List::whole(list.clone())),
                    (parts, json!({"items": list.items}))
                );
            }
        }
    }

    proptest! {
        #[test]
        fn rows_are_written_as_serde_writes_them(rows in vec(a_row(), 0..5)) {
            let mut written = Vec::new();
            write(rows.iter().map(|row| row.with_id(&row.chat_id)), &mut written).unwrap();
            let items = serde_json::to_string(&rows).unwrap();
            let by_serde = format!("{{\"items\":{items}}}");
            prop_assert_eq!(String::from_utf8(written).unwrap(), by_serde);
        }
    }
}
