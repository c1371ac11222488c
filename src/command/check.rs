//! Checks that several commands share: bounds of lists, pages and texts.

use super::Error;
use crate::limits::{IDS_MAX, JOURNAL_TEXT_BYTES_MAX, TEXT_BYTES_MAX, USERS_MAX};
use crate::types::UserId;

/// Rejects more than [`USERS_MAX`] users in `user_ids`.
pub(super) fn check_users(user_ids: &[UserId]) -> Result<(), Error> {
    if user_ids.len() > USERS_MAX {
        return Err(Error::too_large(format!(
            "user_ids: at most {USERS_MAX} in one request, this one has {}; send several",
            user_ids.len()
        )));
    }
    Ok(())
}

/// Rejects more than [`IDS_MAX`] ids in the argument `name`.
pub(super) fn check_ids(name: &str, count: usize) -> Result<(), Error> {
    if count > IDS_MAX {
        return Err(Error::too_large(format!(
            "{name}: at most {IDS_MAX} in one request, this one has {count}"
        )));
    }
    Ok(())
}

/// Rejects a page size that is not 1 to `max`.
pub(super) fn check_limit(limit: Option<u32>, max: usize) -> Result<(), Error> {
    match limit.map(usize::try_from) {
        None => Ok(()),
        Some(Ok(limit)) if (1..=max).contains(&limit) => Ok(()),
        Some(_) => Err(Error::invalid(format!("limit: must be 1 to {max}"))),
    }
}

/// Rejects a cursor of more than [`TEXT_BYTES_MAX`] bytes.
pub(super) fn check_cursor(cursor: Option<&str>) -> Result<(), Error> {
    check_text("cursor", cursor)
}

/// Rejects a text argument of more than [`TEXT_BYTES_MAX`] bytes.
pub(super) fn check_text(name: &str, text: Option<&str>) -> Result<(), Error> {
    check_length(name, text.unwrap_or_default(), TEXT_BYTES_MAX)
}

/// Rejects a text that has no room in an entry of a journal.
pub(super) fn check_journal_text(name: &str, text: &str) -> Result<(), Error> {
    check_length(name, text, JOURNAL_TEXT_BYTES_MAX)
}

/// Rejects an empty text.
pub(super) fn check_not_empty(name: &str, text: &str) -> Result<(), Error> {
    match text.is_empty() {
        true => Err(Error::invalid(format!("{name}: must not be empty"))),
        false => Ok(()),
    }
}

fn check_length(name: &str, text: &str, bytes_max: usize) -> Result<(), Error> {
    if text.len() > bytes_max {
        return Err(Error::too_large(format!("{name}: at most {bytes_max} bytes")));
    }
    Ok(())
}
