//! Which encoding a client wants for a long body.
//!
//! `Accept-Encoding` is parsed as RFC 9110 (12.5.3) says. A malformed member of the list is
//! ignored: at worst the body is sent without compression.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

/// The encoding in which a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// The body is not compressed.
    Identity,
    /// The body is compressed with gzip.
    Gzip,
}

/// The largest weight (`q`) of an encoding, in thousandths.
const WEIGHT_MAX: u16 = 1000;

impl Encoding {
    /// The encoding that a request's headers prefer, or gzip if they accept both alike.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        // Several headers `Accept-Encoding` form one list.
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
        for member in lists.flat_map(|list| list.split(',')) {
            let (name, weight) = member.split_once(';').unwrap_or((member, "q=1"));
            let Some(weight) = weight_of(weight) else { continue };
            let name = name.trim();
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                gzip = gzip.max(Some(weight));
            } else if name.eq_ignore_ascii_case("identity") {
                identity = identity.max(Some(weight));
            } else if name == "*" {
                any = any.max(Some(weight));
            }
        }
        let gzip = gzip.or(any).unwrap_or(0);
        // An encoding that the client does not name has no weight: `identity` is then acceptable,
        // but not preferred.
        if gzip > 0 && gzip >= identity.unwrap_or(0) { Self::Gzip } else { Self::Identity }
    }
}

/// The weight in a parameter like `q=0.5`, in thousandths; `None` if it is malformed.
fn weight_of(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 1 || fraction.len() > 3 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let weight = format!("{whole}{fraction:0<3}").parse().ok()?;
    (weight <= WEIGHT_MAX).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_is_wanted() {
        let cases = [
            (&["gzip"][..], true),
            (&["GZip"], true),
            (&["x-gzip"], true),
            (&["deflate, gzip;q=1.0, *;q=0.5"], true),
            (&["br, gzip ; q=0.001"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["*;q=0, gzip"], true),
            (&["identity;q=0.5, gzip;q=0.5"], true),
            (&["identity;q=0, *;q=0.1"], true),
            (&[], false),
            (&[""], false),
            (&["br, zstd, deflate"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000, *"], false),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity, gzip;q=0.9"], false),
            (&["gzip;q=1.5"], false),
            (&["gzip;q=0.5000"], false),
            (&["gzip;q=-1", "gzip;q=+1", "gzip;q=", "gzip;q", "gzip;level=9"], false),
            (&["gzipped, xgzip"], false),
        ];
        for (lists, is_gzip) in cases {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(ACCEPT_ENCODING, list.parse().unwrap());
            }
            let accepted = Encoding::accepted(&headers);
            assert_eq!(accepted == Encoding::Gzip, is_gzip, "{lists:?}");
        }
    }
}
