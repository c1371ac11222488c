//! The schemas of the store's values, such as ids and flags.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::command::sync::SyncOp;
use crate::command::watch::WatchOp;
use crate::limits::{ID_BYTES_MAX, INTEGER_MAX};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

macro_rules! values {
    ($($value:ident: $schema:expr;)+) => {$(
        impl PartialSchema for $value {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $value {}
    )+};
}

values! {
    ChatId: id("A chat's id", "s_a7be32fecc0b2015");
    UserId: id("A user's id", "0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca");
    IdempotencyKey: id("A caller's name for one request", "5f0c7a52-1");
    Sequence: integer("A message's number in its chat; 0 stands for \"before the first message\".", 42);
    TimeMs: integer("Milliseconds since the Unix epoch.", 1_700_000_000_000);
    Flag: code("1 yes, 0 no.", &[0, 1]);
    ChatType: code("1 single, 2 group, 3 official.", &[1, 2, 3]);
    ChatStatus: code("1 normal, 2 disabled.", &[1, 2]);
    SyncOp: ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Whether the row is in the list, as told, or not any more."))
        .enum_values(Some(["upsert", "remove"]));
    WatchOp: ObjectBuilder::new().schema_type(Type::String);
}

fn id(what: &str, example: &str) -> ObjectBuilder {
    let rule = format!("{what}: 1 to {ID_BYTES_MAX} bytes of UTF-8, no control characters.");
    // The lengths of a schema count characters. A text never has more characters than bytes.
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(ID_BYTES_MAX))
        .pattern(Some(r"^[^\u0000-\u001F\u007F-\u009F]*$"))
        .description(Some(rule))
        .examples([example])
}

fn integer(what: &str, example: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(INTEGER_MAX))
        .description(Some(what))
        .examples([example])
}

fn code(what: &str, codes: &'static [u8]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some(codes.iter().copied()))
        .description(Some(what))
}
