//! Checks a request's head, before anything else of the request is used.
//!
//! Invariants:
//! - A request names exactly one host. If its target names one too, both are equal. Otherwise this
//!   server and a proxy before it could see two different requests.
//! - `Transfer-Encoding` is one `chunked` and nothing else.
//! - A door that trusts requests from loopback accepts only host names that no other site can own.
//!   A page can point its own name at 127.0.0.1 (DNS rebinding), but its requests then carry that
//!   name.
//! - Health is answered under any name: it reveals nothing, and supervisors choose their own names.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, StatusCode, Version};

use super::envelope::{Failure, MoreThanOne, single};
use crate::command::Error;
use crate::metrics::doors::Refused;

/// The host names that a door accepts in requests.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// The door accepts every host name.
    Any,
    /// The door accepts IP addresses, `localhost`, and these names (in lower case, without a port).
    Only(Arc<[String]>),
}

impl Hosts {
    fn admit(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => {
                is_nobodys(host) || names.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }
}

/// Whether the host name is an IP address or `localhost`, which no site can own.
pub(super) fn is_nobodys(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Rejects a head that could be read in two ways, or that names a host which the door does not
/// accept.
pub(super) fn check<B>(request: &Request<B>, hosts: &Hosts) -> Result<(), Failure> {
    check_transfer_encoding(request.headers())?;
    let named = host(request.headers(), request.version())?;
    let target = request.uri().authority();
    if let (Some(named), Some(target)) = (&named, target)
        && !is_same(named, target, request.uri().scheme_str())
    {
        return Err(Error::invalid("Host: the request's target names another host").into());
    }
    let is_health = matches!(request.uri().path(), "/healthz" | "/readyz");
    match named.as_ref().or(target) {
        Some(named) if !is_health && !hosts.admit(named.host()) => Err(misdirected()),
        _ => Ok(()),
    }
}

fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    let is_chunked = match single(headers, &TRANSFER_ENCODING) {
        Ok(None) => return Ok(()),
        Ok(Some(value)) => value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        Err(MoreThanOne) => false,
    };
    let why = "Transfer-Encoding: it must be `chunked`, once, or absent";
    if is_chunked { Ok(()) } else { Err(Error::invalid(why).into()) }
}

/// The host that the header `Host` names. Only a client of HTTP/1.0 may leave the header out.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<Authority>, Failure> {
    let invalid = |why: &'static str| Failure::from(Error::invalid(why));
    let value = single(headers, &HOST)
        .map_err(|MoreThanOne| invalid("Host: it is there more than once"))?;
    let Some(value) = value else {
        let is_old = version < Version::HTTP_11;
        return if is_old { Ok(None) } else { Err(invalid("the header Host is missing")) };
    };
    let host = Authority::try_from(value.as_bytes()).ok();
    // A user before the host, as in `user@host`, makes no sense here.
    let host = host.filter(|host| !host.as_str().contains('@'));
    host.map(Some).ok_or_else(|| invalid("Host: it must be HOST or HOST:PORT"))
}

fn is_same(named: &Authority, target: &Authority, scheme: Option<&str>) -> bool {
    let default_port = if scheme == Some("https") { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    named.host().eq_ignore_ascii_case(target.host()) && port(named) == port(target)
}

/// Error 421: the host is unknown here, so the request was meant for another server.
fn misdirected() -> Failure {
    let message = "Host: this door answers to IP addresses, to localhost and to the names of \
                   --http-hosts; a proxy must send one of them (nginx: proxy_set_header Host localhost)";
    Failure::new(StatusCode::MISDIRECTED_REQUEST, message).refused_as(Refused::ForeignPage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, target: &str, headers: &[(&str, &str)], hosts: &Hosts) -> u16 {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let checked = check(&request.body(()).unwrap(), hosts);
        checked.map_or_else(|failure| failure.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_door_of_loopback_answers_to_names_that_nobody_owns() {
        let hosts = Hosts::Only(["chat.internal".to_owned()].into());
        for host in [
            "127.0.0.1",
            "127.0.0.1:7780",
            "[::1]:7780",
            "localhost",
            "LOCALHOST:1",
            "10.0.0.7",
            "chat.internal",
            "Chat.Internal:80",
        ] {
            assert_eq!(checked(Version::HTTP_11, "/", &[("host", host)], &hosts), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7780",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "x.chat.internal",
            "xlocalhost",
            "127.1",
            "2130706433",
        ] {
            let headers = [("host", host)];
            assert_eq!(checked(Version::HTTP_11, "/", &headers, &hosts), 421, "{host}");
            assert_eq!(checked(Version::HTTP_10, "/", &headers, &hosts), 421, "{host}");
            assert_eq!(checked(Version::HTTP_11, "/healthz", &headers, &hosts), 200, "{host}");
            assert_eq!(checked(Version::HTTP_11, "/", &headers, &Hosts::Any), 200, "{host}");
        }
        // Without the header `Host`, the host in the target is checked.
        assert_eq!(checked(Version::HTTP_10, "/", &[], &hosts), 200);
        assert_eq!(checked(Version::HTTP_10, "http://evil.example/", &[], &hosts), 421);
    }

    #[test]
    fn a_head_names_one_host_and_one_framing() {
        let checked = |target, headers: &[(&str, &str)]| {
            checked(Version::HTTP_11, target, headers, &Hosts::Any)
        };
        assert_eq!(checked("/", &[]), 400);
        for host in ["", "a b", "a@b", "a/b", "a:b:c"] {
            assert_eq!(checked("/", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(checked("/", &[("host", "a"), ("host", "a")]), 400);
        assert_eq!(checked("http://a/", &[("host", "A:80")]), 200);
        assert_eq!(checked("http://a/", &[("host", "b")]), 400);
        assert_eq!(checked("http://a:81/", &[("host", "a")]), 400);
        for encoding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            let headers = [("host", "a"), ("transfer-encoding", encoding)];
            assert_eq!(checked("/", &headers), 400, "{encoding}");
        }
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(checked("/", &[("host", "a"), chunked]), 200);
        assert_eq!(checked("/", &[("host", "a"), chunked, chunked]), 400);
    }
}
