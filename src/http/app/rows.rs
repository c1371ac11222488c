//! Rows of a list as JSON, without serde: fifty of them are most of what this door sends, and serde
//! writes each of their four hundred names apart, and looks at each of their bytes.
//!
//! Invariant: what is written is byte for byte what serde_json writes.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use crate::command::membership::ListRowRef;
use crate::types::ChatId;

/// What is between a row's ids and its numbers, and where in it the flags are.
const FLAGS: [u8; 63] = *br#","is_top":0,"is_mute":0,"is_show":0,"is_hide":0,"max_read_seq":"#;
const FLAGS_AT: [usize; 4] = [10, 22, 34, 46];

/// Writes `{"items":[...]}`.
///
/// # Errors
/// None; serde's way of writing has some.
pub(super) fn write<'r>(
    rows: impl Iterator<Item = ListRowRef<'r>>,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    out.extend_from_slice(br#"{"items":["#);
    for (place, row) in rows.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_row(&row, out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
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

/// An id holds no control characters, but it may hold what JSON escapes.
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

/// All four at once: each piece that is appended costs a look whether there is room for it.
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

    use super::*;
    use crate::command::membership::ListRow;
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
