//! RESP, version 2: writes commands, and finds the end of replies.
//!
//! Established crates build a tree of each reply and each command, which would cost the load side
//! more than the server's work. The load side only needs to know where a reply ends, and whether it
//! is an error.
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$1\r\nk\r\n      a command: an array of bulk strings
//! +OK\r\n  -ERR why\r\n  :12\r\n       a line
//! $3\r\nabc\r\n  $-1\r\n               a bulk string, or none
//! *2\r\n...  *-1\r\n                   an array, or none
//! ```
//!
//! Invariant: no input makes this code recurse or allocate. A claimed length is only compared with
//! the bytes in the buffer.

use std::io::Write;

use bytes::{BufMut, BytesMut};

/// Longest line that is not the content of a bulk string, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Appends the head of a RESP command that has this many parts.
pub fn command(parts: usize, out: &mut BytesMut) {
    head(b'*', parts, out);
}

/// Appends one part of a RESP command, its name or an argument.
pub fn part(bytes: &[u8], out: &mut BytesMut) {
    head(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends one part of a command, whose bytes are `prefix` and then `rest`.
pub fn joined(prefix: &[u8], rest: &[u8], out: &mut BytesMut) {
    head(b'$', prefix.len() + rest.len(), out);
    out.extend_from_slice(prefix);
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

fn head(mark: u8, number: usize, out: &mut BytesMut) {
    out.put_u8(mark);
    // Most numbers are below 256. To format a number costs more than this.
    match u8::try_from(number) {
        Ok(number @ 0..10) => out.put_u8(b'0' + number),
        Ok(number @ 10..100) => out.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10]),
        _ => {
            // Memory takes every write, so the result is ignored.
            let _ = write!(out.writer(), "{number}");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What the load side must know of a reply, without a tree of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RespReply<'a> {
    /// The length of the reply in bytes.
    pub bytes: usize,
    /// The first error in the reply, at any depth.
    pub error: Option<&'a [u8]>,
    /// The number of elements, if the reply is an array; `None` if it is another value.
    pub elements: Option<usize>,
    /// The number of absent values (length -1) in the reply, at any depth.
    pub nils: usize,
    /// The number of complete values in the reply, at any depth.
    pub values: usize,
}

/// Finds the end of the first reply; `None` while it is incomplete.
///
/// # Errors
/// If the bytes are not a reply.
pub fn first(input: &[u8]) -> Result<Option<RespReply<'_>>, String> {
    let mut rest = input;
    let mut found = RespReply { bytes: 0, error: None, elements: None, nils: 0, values: 0 };
    let mut open = 1_usize;
    while open > 0 {
        let Some((mark, line, behind)) = line(rest)? else { return Ok(None) };
        rest = behind;
        open -= 1;
        found.values += 1;
        match mark {
            b'+' | b':' => {}
            b'-' => found.error = found.error.or(Some(line)),
            b'$' => match length(line)? {
                None => found.nils += 1,
                Some(bytes) => {
                    let Some(behind) = rest.get(bytes..) else { return Ok(None) };
                    match behind.split_first_chunk::<2>() {
                        Some((b"\r\n", behind)) => rest = behind,
                        Some(_) => return Err("a bulk string is longer than it says".to_owned()),
                        None => return Ok(None),
                    }
                }
            },
            b'*' => {
                let elements = length(line)?;
                if found.values == 1 {
                    found.elements = elements;
                }
                found.nils += usize::from(elements.is_none());
                open = open.checked_add(elements.unwrap_or(0)).ok_or("an array is too long")?;
            }
            other => return Err(format!("a reply begins with byte {other}")),
        }
    }
    found.bytes = input.len() - rest.len();
    Ok(Some(found))
}

/// A line of RESP: its first byte, its text, and the bytes that follow the line.
type Line<'a> = (u8, &'a [u8], &'a [u8]);

fn line(input: &[u8]) -> Result<Option<Line<'_>>, String> {
    let Some(end) = input.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\r') else {
        return if input.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err("a line without end".to_owned())
        };
    };
    let (Some((line, behind)), Some((&mark, _))) =
        (input.split_at_checked(end), input.split_first())
    else {
        return Ok(None);
    };
    match behind.split_first_chunk::<2>() {
        Some((b"\r\n", behind)) => Ok(Some((mark, line.get(1..).unwrap_or_default(), behind))),
        Some(_) => Err("a line ends without a line feed".to_owned()),
        None => Ok(None),
    }
}

/// Parses the length of a bulk string or an array. `None` stands for -1, an absent value.
fn length(digits: &[u8]) -> Result<Option<usize>, String> {
    if digits == b"-1" {
        return Ok(None);
    }
    let mut value = (!digits.is_empty()).then_some(0_usize);
    for byte in digits {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
        value =
            value.zip(digit).and_then(|(value, digit)| value.checked_mul(10)?.checked_add(digit));
    }
    value.map(Some).ok_or_else(|| format!("a length of {:?}", String::from_utf8_lossy(digits)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(input: &[u8]) -> RespReply<'_> {
        for bytes in 0..input.len() {
            assert_eq!(first(&input[..bytes]), Ok(None), "{bytes} bytes");
        }
        let found = first(input).unwrap().unwrap();
        assert_eq!(found.bytes, input.len());
        // Bytes behind the first reply make no difference.
        assert_eq!(first(&[input, b"?"].concat()).unwrap().unwrap().bytes, input.len());
        found
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = BytesMut::new();
        command(3, &mut out);
        part(b"HGET", &mut out);
        joined(b"u:", b"alice", &mut out);
        part(&[b'x'; 123], &mut out);
        let wanted =
            format!("*3\r\n$4\r\nHGET\r\n$7\r\nu:alice\r\n$123\r\n{}\r\n", "x".repeat(123));
        assert_eq!(out, wanted.as_bytes());
        let found = whole(&out);
        assert_eq!((found.elements, found.values), (Some(3), 4));
    }

    #[test]
    fn every_kind_of_reply_is_passed_over() {
        assert_eq!(whole(b"+OK\r\n").values, 1);
        assert_eq!(whole(b":-12\r\n").elements, None);
        assert_eq!(whole(b"-ERR why\r\n").error, Some(&b"ERR why"[..]));
        assert_eq!(whole(b"$0\r\n\r\n").nils, 0);
        assert_eq!(whole(b"$4\r\n\r\n\r\n\r\n").nils, 0, "what is in a bulk string is no line");
        assert_eq!(whole(b"$-1\r\n").nils, 1);
        assert_eq!(whole(b"*-1\r\n").nils, 1);
        assert_eq!(whole(b"*0\r\n").elements, Some(0));
        let nested = whole(b"*3\r\n*2\r\n$1\r\na\r\n$-1\r\n-ERR x\r\n*1\r\n:1\r\n");
        assert_eq!((nested.elements, nested.nils, nested.values), (Some(3), 1, 7));
        assert_eq!(nested.error, Some(&b"ERR x"[..]));
    }

    #[test]
    fn what_is_no_reply_is_said() {
        for bad in [&b"hello\r\n"[..], b"$x\r\n", b"$\r\n", b"$2\r\nabc\r\n", b"+OK\rx", b"*-2\r\n"]
        {
            assert!(first(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(first(b"*99999999999999999999\r\n").is_err());
        assert!(first(&[b'+'; LINE_BYTES_MAX]).is_err());
        assert_eq!(first(b"$999999999\r\n"), Ok(None), "nothing is kept for what is claimed");
        assert_eq!(first(b"*999999999\r\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = first(&bytes);
            let _ = first(&[b"*3\r\n$", &bytes[..]].concat());
        }

        #[test]
        fn every_part_comes_back(parts: Vec<Vec<u8>>) {
            let mut out = BytesMut::new();
            command(parts.len(), &mut out);
            parts.iter().for_each(|bytes| part(bytes, &mut out));
            let found = first(&out).unwrap().unwrap();
            prop_assert_eq!((found.bytes, found.elements), (out.len(), Some(parts.len())));
        }
    }
}
