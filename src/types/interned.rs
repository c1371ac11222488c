//! A user's id whose text is kept once, however many places name it.

use std::fmt;

use arcstr::ArcStr;
use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::UserId;

/// A [`UserId`] with the size of a pointer, whose text several values may share. It is encoded like
/// a [`UserId`].
#[derive(Clone, PartialEq, Eq)]
pub struct InternedUserId(ArcStr);

impl InternedUserId {
    /// Borrows the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Copies the id into a text of its own.
    pub fn to_user_id(&self) -> UserId {
        UserId(CompactString::new(self.as_str()))
    }

    /// Moves the id out of a value that will not be used any more.
    pub fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    /// Whether no other value shares this id's text.
    pub fn is_alone(&self) -> bool {
        ArcStr::strong_count(&self.0).is_none_or(|holders| holders == 1)
    }
}

impl From<&UserId> for InternedUserId {
    /// Makes an id whose text no other value shares yet.
    fn from(id: &UserId) -> Self {
        Self(ArcStr::from(id.as_str()))
    }
}

impl PartialEq<UserId> for InternedUserId {
    fn eq(&self, other: &UserId) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Display for InternedUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InternedUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for InternedUserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for InternedUserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UserId::deserialize(deserializer).map(|id| Self::from(&id))
    }
}
