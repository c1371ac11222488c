//! The app's routes as an OpenAPI 3.1 document.
//!
//! Invariants:
//! - The document is made from the types that serve the routes (see [`super::route`]). So document
//!   and router have the same routes, and a described body has the fields that serde reads.
//! - A reply is described by its own type, which has the fields that serde writes. Nothing else in
//!   the modules of commands knows of this document.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApiBuilder, OpenApiVersion};
use utoipa::openapi::{Ref, RefOr, Required, ResponseBuilder, Schema, Server};
use utoipa::{PartialSchema, ToSchema};

use super::body::Missing;
use super::route::{Route, Visit};
use crate::command::{Class, ErrorCode};
use crate::limits::IDEMPOTENCY_WINDOW_MS;
use crate::types::IdempotencyKey;

/// The names of the security schemes: how a caller is identified.
const BY_GATEWAY: &str = "gateway";
const BY_TOKEN: &str = "token";
/// The name of the schema for the answer of every failure.
const FAILURE: &str = "Failure";
const JSON: &str = "application/json";

/// The errors that every route may answer with.
const ANYWHERE: &[ErrorCode] = &[
    ErrorCode::InvalidArgument,
    ErrorCode::Unauthenticated,
    ErrorCode::PermissionDenied,
    ErrorCode::TooLarge,
    ErrorCode::Busy,
    ErrorCode::Unavailable,
];

/// More failures of every route, with a status that no command's error has.
const OTHERWISE: [(StatusCode, &str); 2] = [
    (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."),
    (StatusCode::INTERNAL_SERVER_ERROR, "The program is wrong, not the request."),
];

/// The groups in which the document shows routes: the class of their commands, title and
/// description.
const GROUPS: [(Class, &str, &str); 2] = [
    (Class::Read, "Look", "Change nothing, and go on when the store takes no changes."),
    (Class::Write, "Change", "Take the header `Idempotency-Key`, so that a retry is safe."),
];

const ABOUT: &str = "\
The caller's own rows, and nothing else: who calls is told by a header or a token, never by a body.

Every answer is `{code, data, msg}`: `code` is the HTTP status, and on a failure `data` is null and \
`msg` says why. The routes `mine-list`, `detail` and `delete` pass over fields of a body that are not \
described here; the others refuse them. Long answers are compressed (gzip) if `Accept-Encoding` asks for \
that. Integers are written without a fraction. Times are milliseconds \
since the Unix epoch.";

/// The `data` of an answer that has none: `null`.
#[derive(Serialize)]
pub(super) struct Nothing;

impl PartialSchema for Nothing {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).into()
    }
}

impl ToSchema for Nothing {}

/// The API's document, to which routes are added one by one.
#[derive(Default)]
pub(super) struct Document {
    paths: PathsBuilder,
    components: ComponentsBuilder,
}

impl Visit for Document {
    fn route<R: Route>(self) -> Self {
        let mut schemas = Vec::new();
        describe::<R>(&mut schemas);
        describe::<R::Data>(&mut schemas);
        let failures =
            failures::<R>().map(|code| (code.name(), refusal(code.status(), meaning(code))));
        Self {
            paths: self.paths.path(R::PATH, PathItem::new(HttpMethod::Post, operation::<R>())),
            components: self.components.schemas_from_iter(schemas).responses_from_iter(failures),
        }
    }
}

impl Document {
    /// Completes the document and returns it as JSON. `server` is the address of the routes.
    pub(super) fn into_json(self, server: Server) -> Result<Bytes, String> {
        let gateway = ApiKeyValue::with_description(
            "X-User-Id",
            "Where a trusted gateway is in front (`--http-auth header`): it names the user.",
        );
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "Elsewhere (`--http-auth jwt`): signed with RS256, ES256, EdDSA or HS256 by a key that the \
                 server knows (`kid`), with the user in `sub`, with `exp`, and where the server asks for it \
                 with `aud` and `iss`.",
            ))
            .build();
        let components = self
            .components
            .schema(FAILURE, failure())
            .security_scheme(BY_GATEWAY, SecurityScheme::ApiKey(ApiKey::Header(gateway)))
            .security_scheme(BY_TOKEN, SecurityScheme::Http(token));
        let info = InfoBuilder::new()
            .title("chatshard")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(
                LicenseBuilder::new()
                    .name(env!("CARGO_PKG_LICENSE"))
                    .identifier(Some(env!("CARGO_PKG_LICENSE")))
                    .build(),
            ))
            .build();
        let none = [""; 0];
        let document = OpenApiBuilder::new()
            .openapi(OpenApiVersion::Version31)
            .info(info)
            .servers(Some([server]))
            .tags(Some(GROUPS.map(|(_, name, about)| {
                TagBuilder::new().name(name).description(Some(about)).build()
            })))
            .paths(self.paths)
            .components(Some(components.build()))
            // Either of the two schemes is enough.
            .security(Some([
                SecurityRequirement::new(BY_GATEWAY, none),
                SecurityRequirement::new(BY_TOKEN, none),
            ]))
            .build();
        document.to_json().map(Bytes::from).map_err(|error| error.to_string())
    }
}

/// Adds the schema of `T`, and those of all types in it, with their names.
fn describe<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// The errors of a route, together with those that every route has.
fn failures<R: Route>() -> impl Iterator<Item = ErrorCode> {
    let all = ErrorCode::ALL.iter().copied();
    all.filter(|code| ANYWHERE.contains(code) || R::ERRORS.contains(code))
}

fn operation<R: Route>() -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(R::KIND.name()))
        .tags(Some(GROUPS.iter().filter(|group| group.0 == R::KIND.class()).map(|group| group.1)))
        .summary(Some(R::SUMMARY))
        .description(Some(R::ABOUT))
        .response("200", answer::<R>());
    let required = match R::MISSING {
        Missing::Empty => Required::False,
        Missing::Refuse => Required::True,
    };
    let body = Content::new(Some(Ref::from_schema_name(R::name())));
    let body = RequestBodyBuilder::new().content(JSON, body).required(Some(required)).build();
    operation = operation.request_body(Some(body));
    if R::KIND.class() == Class::Write {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(format!(
                    "The caller's name for this request. If it comes again with the same key within \
                     {} minutes, it gets the first answer and nothing is applied again; another \
                     request with that key is 409.",
                    IDEMPOTENCY_WINDOW_MS / 60_000,
                )))
                .schema(Some(IdempotencyKey::schema())),
        );
    }
    for code in failures::<R>() {
        let told = Ref::from_response_name(code.name());
        operation = operation.response(code.status().to_string(), told);
    }
    for (status, why) in OTHERWISE {
        operation = operation.response(status.as_str(), refusal(status.as_u16(), why));
    }
    operation
}

/// Describes the answer of a route with status 200.
fn answer<R: Route>() -> ResponseBuilder {
    let data = Ref::from_schema_name(R::Data::name());
    let code = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([200]));
    let msg = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([""]));
    let content = ContentBuilder::new().schema(Some(envelope(code, data, msg))).build();
    ResponseBuilder::new().description("It went well.").content(JSON, content)
}

fn refusal(status: u16, why: &str) -> ResponseBuilder {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(FAILURE)))
        .example(Some(json!({"code": status, "data": null, "msg": why})))
        .build();
    ResponseBuilder::new().description(why).content(JSON, content)
}

fn envelope(
    code: impl Into<RefOr<Schema>>,
    data: impl Into<RefOr<Schema>>,
    msg: impl Into<RefOr<Schema>>,
) -> ObjectBuilder {
    ObjectBuilder::new()
        .property("code", code)
        .property("data", data)
        .property("msg", msg)
        .required("code")
        .required("data")
        .required("msg")
}

/// The schema of the envelope that every failure has.
fn failure() -> Schema {
    let code = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(400))
        .maximum(Some(599))
        .description(Some("The HTTP status."));
    let data = ObjectBuilder::new().schema_type(Type::Null);
    let msg = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .description(Some("What is wrong, and with which field."));
    envelope(code, data, msg).description(Some("Why a request has no data.")).into()
}

/// What a code means, in words for the makers of apps.
fn meaning(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidArgument => "A wrong type, id, range or header; `msg` names it.",
        ErrorCode::Unauthenticated => "No credentials, or bad ones.",
        ErrorCode::PermissionDenied => "The body names another user.",
        ErrorCode::NotFound => "There is no such chat, or the caller is no member of it.",
        ErrorCode::Conflict => {
            "The key came with another request before, or `if_version` is not the row's."
        }
        ErrorCode::Gone => "The chat was dissolved.",
        ErrorCode::TooLarge => {
            "The body, a list in it, or the answer is over its limit; `msg` says what to do."
        }
        ErrorCode::Moved => "This node is not the active; an app gets 503 in its place.",
        ErrorCode::Disabled => "The chat is disabled.",
        ErrorCode::Busy => "Too much at once; nothing was applied. Try again later.",
        ErrorCode::Unavailable => "Not now; `msg` says whether it was applied.",
    }
}
