//! Decodes values of the protocol with serde, where a struct is the array of its fields in order.
//!
//! `rmp_serde` does not fit here. It rejects an array that is longer than the struct, but a client
//! must accept one from a newer server. It accepts maps, and its errors do not name the wrong
//! field.
//!
//! Invariants:
//! - In arguments nil means absent: the field gets its default, or the error says that it is
//!   missing.
//! - In arguments, elements beyond the last field must be nil; in replies they are skipped.
//! - An error names the path to the value, and never repeats a long input.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Expected, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::msgpack::{Head, Malformed, ValueReader};

/// How strictly the elements of a struct are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The server's manner: unknown elements are rejected.
    Arguments,
    /// The client's manner: unknown elements are skipped.
    Reply,
}

/// A serde deserializer of the next value in a reader.
pub(super) struct Value<'r, 'de> {
    reader: &'r mut ValueReader<'de>,
    manner: Manner,
}

impl<'r, 'de> Value<'r, 'de> {
    pub(super) fn new(reader: &'r mut ValueReader<'de>, manner: Manner) -> Self {
        Self { reader, manner }
    }
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.reader.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(value) => visitor.visit_bool(value),
            Head::Unsigned(value) => visitor.visit_u64(value),
            Head::Signed(value) => visitor.visit_i64(value),
            Head::Float(value) => visitor.visit_f64(value),
            Head::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(ValueError::new("the text is not UTF-8")),
            },
            Head::Array(elements) => {
                let mut access =
                    Elements { reader: self.reader, manner: self.manner, left: elements, index: 0 };
                let value = visitor.visit_seq(&mut access)?;
                if access.left > 0 {
                    return Err(ValueError::new("the array has too many elements"));
                }
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self.reader.nil() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let Head::Array(elements) = self.reader.head()? else {
            return Err(ValueError::new("expected an array of fields"));
        };
        let mut fields =
            Fields { reader: self.reader, manner: self.manner, names, left: elements, index: 0 };
        let value = visitor.visit_seq(&mut fields).map_err(|error| error.name_missing(names))?;
        fields.finish()?;
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let Head::Text(bytes) = self.reader.head()? else {
            return Err(ValueError::new("expected a string"));
        };
        let name =
            std::str::from_utf8(bytes).map_err(|_| ValueError::new("the text is not UTF-8"))?;
        visitor.visit_enum(de::value::BorrowedStrDeserializer::new(name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.reader.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

/// The elements of a list, as serde asks for them one by one.
struct Elements<'r, 'de> {
    reader: &'r mut ValueReader<'de>,
    manner: Manner,
    left: usize,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let index = self.index;
        self.index += 1;
        seed.deserialize(Value::new(self.reader, self.manner))
            .map(Some)
            .map_err(|error| error.within(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        // serde reserves memory by this hint, so it is at most what the remaining bytes can hold.
        Some(self.left.min(self.reader.left()))
    }
}

/// The fields of a struct, which are elements of an array at fixed positions.
struct Fields<'r, 'de> {
    reader: &'r mut ValueReader<'de>,
    manner: Manner,
    names: &'static [&'static str],
    left: usize,
    index: usize,
}

impl Fields<'_, '_> {
    /// Ends a struct: skips or rejects the elements behind its last field.
    fn finish(&mut self) -> Result<(), ValueError> {
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.index += 1;
            if self.manner == Manner::Arguments && !self.reader.at_nil() {
                return Err(ValueError::new(format!(
                    "element {} is unknown to this server; it takes {}",
                    self.index,
                    self.names.len()
                )));
            }
            self.reader.skip()?;
        }
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let name = self.names.get(self.index).copied().unwrap_or("?");
        self.index += 1;
        if self.manner == Manner::Arguments && self.reader.nil() {
            // A derived struct asks once per field. After `None` it uses the defaults of the
            // remaining fields.
            return Ok(None);
        }
        seed.deserialize(Value::new(self.reader, self.manner))
            .map(Some)
            .map_err(|error| error.within(name.to_owned()))
    }
}

/// Where a value is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueError {
    /// The path from the outermost field to the wrong one.
    path: String,
    why: String,
    /// The position of the field that is missing in the struct that is being read; the struct adds
    /// its name.
    missing: Option<usize>,
}

impl ValueError {
    fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into(), missing: None }
    }

    fn within(mut self, outer: String) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = outer + joint + &self.path;
        self
    }

    fn name_missing(mut self, names: &[&'static str]) -> Self {
        if let Some(name) = self.missing.take().and_then(|position| names.get(position)) {
            self.path.push_str(name);
            self.why = "missing".to_owned();
        }
        self
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.why);
        }
        write!(f, "{}: {}", self.path, self.why)
    }
}

impl std::error::Error for ValueError {}

impl From<Malformed> for ValueError {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.to_string())
    }
}

impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", brief(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, _expected: &dyn Expected) -> Self {
        Self { missing: Some(length), ..Self::new(format!("only {length} elements")) }
    }
}

/// Says which kind of value was found, in the words of MessagePack and without its text.
fn brief(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Unit | Unexpected::Option => "nil".to_owned(),
        Unexpected::Str(_) => "a string".to_owned(),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        other => other.to_string(),
    }
}
