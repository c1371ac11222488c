//! Checks that several commands share: bounds of lists, pages and texts.

use super::Error;
use crate::limits::{IDS_MAX, TEXT_BYTES_MAX, USERS_MAX};
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
    if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Error::too_large(format!("{name}: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}
