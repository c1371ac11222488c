//! The protocol as data: commands, records, errors, events of `watch` and limits. Clients in other
//! languages are generated from it.
//!
//! # Invariants
//! - All names, types and texts come from the types that encode and decode, so they cannot differ
//!   from what a server does.
//! - The fields of arguments, replies and records stand in the order that they have on the wire.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

mod values;

use serde::Serialize;
use utoipa::openapi::schema::{ArrayItems, KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::error::{NOT_APPLIED, OUTCOME_UNKNOWN};
use super::hello::{Limits, PROTOCOL_VERSION};
use super::watch::WatchOp;
use super::{Arguments, Class, ErrorCode, KeyOwner, Kind, OnStandby, RunsAt};
use crate::limits::{ID_BYTES_MAX, INTEGER_MAX, TEXT_BYTES_MAX};

/// The format of an integer that uses all 64 bits.
const BITS64: &str = "bits64";
/// Where a schema names another one.
const PREFIX: &str = "#/components/schemas/";

/// What bounds an argument beyond its type.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The name of the argument.
    pub argument: &'static str,
    /// The smallest integer, or the fewest items or bytes.
    pub min: u64,
    /// The largest integer, or the most items or bytes.
    pub max: u64,
    /// The value that an absent argument stands for, if it is one.
    pub default: Option<u64>,
}

impl Bound {
    /// Bounds an integer.
    pub const fn integer(argument: &'static str, min: u64, max: u64) -> Self {
        Self { argument, min, max, default: None }
    }

    /// Bounds the size of a page, which is `default` if the argument is absent.
    pub const fn page(argument: &'static str, max: usize, default: usize) -> Self {
        Self { argument, min: 1, max: wide(max), default: Some(wide(default)) }
    }

    /// Bounds the number of items.
    pub const fn list(argument: &'static str, max: usize) -> Self {
        Self { argument, min: 0, max: wide(max), default: None }
    }

    /// Bounds the bytes of a text.
    pub const fn text(argument: &'static str, min: u64, max: usize) -> Self {
        Self { argument, min, max: wide(max), default: None }
    }
}

#[expect(clippy::as_conversions, reason = "no other conversion is const; it widens")]
const fn wide(count: usize) -> u64 {
    count as u64
}

/// The whole protocol.
#[derive(Debug, Serialize)]
pub struct Protocol {
    /// The version of the protocol.
    pub protocol: u16,
    /// The types of values.
    pub types: Vec<ValueType>,
    /// The arrays that stand in arguments and replies.
    pub records: Vec<Record>,
    /// The commands, in the order of their codes.
    pub commands: Vec<CommandSchema>,
    /// The errors, in the order of their statuses.
    pub errors: Vec<ErrorSchema>,
    /// How the message of a 503 begins.
    pub unavailable: Unavailable,
    /// The kinds of changes that `watch` returns.
    pub watch_ops: Vec<WatchOpSchema>,
    /// The limits that `hello` returns, with the values of this build.
    pub limits: Vec<LimitSchema>,
}

/// A type of values, such as `id`.
#[derive(Debug, Serialize)]
pub struct ValueType {
    /// The name that fields have as their type.
    pub name: &'static str,
    /// What it is in MessagePack: `string`, `integer` or `boolean`.
    pub wire: &'static str,
    /// The smallest integer, or the fewest bytes.
    pub min: Option<u64>,
    /// The largest integer, or the most bytes in a request.
    pub max: Option<u64>,
    /// What it means.
    pub about: &'static str,
}

/// An array of fields by position.
#[derive(Debug, Serialize)]
pub struct Record {
    /// The name that fields have as their type.
    pub name: String,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// An argument, or a field of a reply or a record.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The name of a [`ValueType`] or of a [`Record`]; in brackets it is a list of them.
    #[serde(rename = "type")]
    pub value_type: String,
    /// Whether it must be given in a request. In a reply every field is there.
    pub required: bool,
    /// Whether it may be nil.
    pub nullable: bool,
    /// The smallest integer, or the fewest items or bytes, if not that of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// The largest integer, or the most items or bytes, if not that of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// What nil stands for, if that is one integer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<u64>,
    /// What it means.
    pub about: String,
}

/// A command.
#[derive(Debug, Serialize)]
pub struct CommandSchema {
    /// The number on the wire.
    pub code: u8,
    /// The name.
    pub name: &'static str,
    /// `read`, `write` or `operate`.
    pub class: &'static str,
    /// Whose idempotency keys it has: `user`, `chat`, `chat_or_node`, `each_chat`; nil: it takes none.
    pub key_owner: Option<&'static str>,
    /// The arguments that name the shard which serves it fastest: the first one that is given, and
    /// of a list its first item.
    pub shard_by: Vec<String>,
    /// When a standby serves it: `always`, `files`, `stale_ms`, `fresh` or `never`.
    pub on_standby: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its arguments.
    pub arguments: Vec<Field>,
    /// The fields of its reply; nil if the reply is nil.
    pub reply: Option<Vec<Field>>,
}

/// An error.
#[derive(Debug, Serialize)]
pub struct ErrorSchema {
    /// The status of the reply.
    pub status: u16,
    /// Its name in the body.
    pub name: &'static str,
    /// What is known of the request: `refused` (the same request fails again), `not_applied` (it may
    /// succeed later, or at another node), or `by_message` (see [`Unavailable`]).
    pub outcome: &'static str,
    /// When it comes.
    pub about: &'static str,
}

/// How the message of a 503 begins. One that begins otherwise has an unknown outcome.
#[derive(Debug, Serialize)]
pub struct Unavailable {
    /// Nothing was applied, and nothing will be.
    pub not_applied: &'static str,
    /// The change may or may not have been applied.
    pub outcome_unknown: &'static str,
}

/// A kind of change.
#[derive(Debug, Serialize)]
pub struct WatchOpSchema {
    /// The value of `op`.
    pub op: String,
    /// What happened.
    pub about: &'static str,
}

/// A limit.
#[derive(Debug, Serialize)]
pub struct LimitSchema {
    /// Its name.
    pub name: String,
    /// Its value in this build.
    pub value: u64,
    /// What it bounds.
    pub about: String,
}

impl Protocol {
    /// The protocol of this build.
    pub fn of_this_build() -> Self {
        Self {
            protocol: PROTOCOL_VERSION,
            types: value_types(),
            records: records(),
            commands: Kind::ALL.iter().copied().map(command).collect(),
            errors: ErrorCode::ALL.iter().copied().map(error).collect(),
            unavailable: Unavailable { not_applied: NOT_APPLIED, outcome_unknown: OUTCOME_UNKNOWN },
            watch_ops: WatchOp::ALL.iter().copied().filter_map(op).collect(),
            limits: limits(),
        }
    }
}

/// The schemas of a command's arguments and reply.
pub(super) fn of<T: Arguments>() -> [RefOr<Schema>; 2] {
    [T::schema(), T::Reply::schema()]
}

/// Adds the schemas of all types in a command's arguments and reply, by their names.
pub(super) fn add<T: Arguments>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(schemas);
    T::Reply::schemas(schemas);
}

fn value_types() -> Vec<ValueType> {
    let integer =
        |name, max, about| ValueType { name, wire: "integer", min: Some(0), max: Some(max), about };
    let string = |name, min, max: usize, about| ValueType {
        name,
        wire: "string",
        min: Some(min),
        max: Some(wide(max)),
        about,
    };
    vec![
        string("id", 1, ID_BYTES_MAX, "Names a chat, a user or a request; no control characters."),
        string("text", 0, TEXT_BYTES_MAX, "UTF-8."),
        integer(
            "seq",
            INTEGER_MAX,
            "The sequence of a message in its chat; 0 is before the first.",
        ),
        integer("time", INTEGER_MAX, "Milliseconds since the Unix epoch."),
        integer("flag", 1, "0 no, 1 yes."),
        ValueType { name: "bool", wire: "boolean", min: None, max: None, about: "True or false." },
        ValueType {
            min: Some(1),
            ..integer("type", 3, "The type of a chat: 1 single, 2 group, 3 official.")
        },
        ValueType {
            min: Some(1),
            ..integer("status", 2, "The status of a chat: 1 normal, 2 disabled.")
        },
        integer("u16", u64::from(u16::MAX), "A number."),
        integer("u32", u64::from(u32::MAX), "A number."),
        integer("u64", INTEGER_MAX, "A number that stays below 2^53."),
        integer(BITS64, u64::MAX, "A number that uses all 64 bits."),
    ]
}

/// All records, in the order of their names.
fn records() -> Vec<Record> {
    let mut schemas = Vec::new();
    for kind in Kind::ALL {
        kind.add_schemas(&mut schemas);
    }
    let mut records: Vec<Record> = schemas
        .into_iter()
        .filter_map(|(name, schema)| {
            Some(Record { name: type_name(&name), fields: fields(schema)? })
        })
        .collect();
    // A row has the chat's id once on the wire, and twice in JSON.
    for row in records.iter_mut().filter(|record| record.name == "row") {
        row.fields.retain(|field| field.name != "id");
    }
    records.sort_by(|one, other| one.name.cmp(&other.name));
    records.dedup_by(|one, other| one.name == other.name);
    records
}

fn command(kind: Kind) -> CommandSchema {
    let [arguments, reply] = kind.schemas();
    let mut arguments = fields(arguments).unwrap_or_default();
    for argument in &mut arguments {
        argument.nullable = !argument.required;
    }
    for bound in kind.bounds() {
        for field in arguments.iter_mut().filter(|field| field.name == bound.argument) {
            (field.min, field.max, field.default) =
                (Some(bound.min), Some(bound.max), bound.default);
        }
    }
    CommandSchema {
        code: kind.code(),
        name: kind.name(),
        class: match kind.class() {
            Class::Read => "read",
            Class::Write => "write",
            Class::Operate => "operate",
        },
        key_owner: match kind.key_owner() {
            KeyOwner::NoKey => None,
            KeyOwner::User => Some("user"),
            KeyOwner::Chat => Some("chat"),
            KeyOwner::ChatOrNode => Some("chat_or_node"),
            KeyOwner::EachChat => Some("each_chat"),
        },
        shard_by: shard_by(kind.runs_at(), &arguments),
        on_standby: match kind.on_standby() {
            OnStandby::Always => "always",
            OnStandby::OfFiles => "files",
            OnStandby::IfAsked => "stale_ms",
            OnStandby::Unasked => "fresh",
            OnStandby::Never => "never",
        },
        about: kind.about().trim(),
        arguments,
        reply: fields(reply),
    }
}

/// The arguments that name a key, in the order in which they decide, up to the first required one.
fn shard_by(runs_at: RunsAt, arguments: &[Field]) -> Vec<String> {
    match runs_at {
        RunsAt::Connection | RunsAt::Worker => return Vec::new(),
        RunsAt::User
        | RunsAt::Chat
        | RunsAt::ChatThenRow
        | RunsAt::ChatThenMembers
        | RunsAt::Steps => {}
    }
    let names = ["user_id", "chat_id", "id", "ids", "user_ids"];
    let mut deciding = Vec::new();
    for name in names {
        if let Some(field) = arguments.iter().find(|field| field.name == name) {
            deciding.push(field.name.clone());
            if field.required {
                break;
            }
        }
    }
    deciding
}

fn error(code: ErrorCode) -> ErrorSchema {
    ErrorSchema {
        status: code.status(),
        name: code.name(),
        outcome: match code {
            ErrorCode::Moved | ErrorCode::Busy => "not_applied",
            ErrorCode::Unavailable => "by_message",
            ErrorCode::InvalidArgument
            | ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::Gone
            | ErrorCode::TooLarge
            | ErrorCode::Disabled => "refused",
        },
        about: code.about().trim(),
    }
}

/// `None` for the place of changes that this build has no name for.
fn op(op: WatchOp) -> Option<WatchOpSchema> {
    let name = serde_json::to_value(op).ok()?;
    let name = name.as_str()?.to_owned();
    (op != WatchOp::Other).then(|| WatchOpSchema { op: name, about: op.about().trim() })
}

fn limits() -> Vec<LimitSchema> {
    let values = serde_json::to_value(Limits::of_this_build()).unwrap_or_default();
    let fields = fields(Limits::schema()).unwrap_or_default();
    let limit = |field: Field| LimitSchema {
        value: values.get(&field.name).and_then(serde_json::Value::as_u64).unwrap_or_default(),
        name: field.name,
        about: field.about,
    };
    fields.into_iter().map(limit).collect()
}

/// The fields of a record; `None` if the schema is of another value.
fn fields(schema: RefOr<Schema>) -> Option<Vec<Field>> {
    let RefOr::T(Schema::Object(object)) = schema else { return None };
    if object.schema_type != SchemaType::Type(Type::Object) {
        return None;
    }
    let required = object.required;
    let field = |(name, schema)| {
        let (value_type, nullable, about) = described(&schema);
        let about = plain_text(&about);
        let required = required.contains(&name) && !nullable;
        Field { name, value_type, required, nullable, min: None, max: None, default: None, about }
    };
    Some(object.properties.into_iter().map(field).collect())
}

/// The type of a value, whether it may be nil, and what it means.
fn described(schema: &RefOr<Schema>) -> (String, bool, String) {
    let text = |description: &Option<String>| description.clone().unwrap_or_default();
    match schema {
        RefOr::Ref(other) => {
            let name = other.ref_location.strip_prefix(PREFIX).unwrap_or(&other.ref_location);
            (type_name(name), false, other.description.clone())
        }
        RefOr::T(Schema::Array(array)) => {
            let ArrayItems::RefOrSchema(items) = &array.items else {
                return ("unknown".to_owned(), false, text(&array.description));
            };
            let (item, ..) = described(items);
            (format!("[{item}]"), may_be_nil(&array.schema_type), text(&array.description))
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            let known = one_of.items.iter().map(described).find(|(name, ..)| name != "nil");
            let (name, _, of_type) = known.unwrap_or_default();
            (name, true, one_of.description.clone().unwrap_or(of_type))
        }
        RefOr::T(Schema::Object(object)) => {
            let name = primitive(&object.schema_type, object.format.as_ref());
            (name.to_owned(), may_be_nil(&object.schema_type), text(&object.description))
        }
        RefOr::T(_) => ("unknown".to_owned(), false, String::new()),
    }
}

/// A comment of the code on one line, without its links.
fn plain_text(comment: &str) -> String {
    comment.replace('\n', " ").replace("[`", "`").replace("`]", "`")
}

fn may_be_nil(schema_type: &SchemaType) -> bool {
    matches!(schema_type, SchemaType::Array(types) if types.contains(&Type::Null))
}

fn primitive(schema_type: &SchemaType, format: Option<&SchemaFormat>) -> &'static str {
    let types = match schema_type {
        SchemaType::Type(one) => std::slice::from_ref(one),
        SchemaType::Array(several) => several,
        SchemaType::AnyValue => &[],
    };
    match types.iter().find(|one| **one != Type::Null) {
        Some(Type::Boolean) => "bool",
        Some(Type::String) => "text",
        Some(Type::Integer) => match format {
            Some(SchemaFormat::KnownFormat(KnownFormat::UInt16)) => "u16",
            Some(SchemaFormat::KnownFormat(KnownFormat::UInt32)) => "u32",
            Some(SchemaFormat::Custom(format)) if format == BITS64 => BITS64,
            _ => "u64",
        },
        None => "nil",
        Some(_) => "unknown",
    }
}

/// The name of a type in the protocol, from the name of its schema.
fn type_name(schema: &str) -> String {
    match schema {
        "ChatId" | "UserId" | "IdempotencyKey" => "id".to_owned(),
        "Sequence" => "seq".to_owned(),
        "TimeMs" => "time".to_owned(),
        "ChatType" => "type".to_owned(),
        "ChatStatus" => "status".to_owned(),
        "SyncOp" | "WatchOp" => "text".to_owned(),
        "Change" => "sync_item".to_owned(),
        "MemberItem" => "member".to_owned(),
        _ => snake_case(schema),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
