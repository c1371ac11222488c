//! Reads files that an operator names: settings, tokens, keys, certificates.

use std::io;
use std::path::Path;

/// Largest file that an operator may name, in bytes.
const BYTES_MAX: usize = 16 << 20;

/// Reads all bytes of a regular file. A named pipe, a device or a directory is rejected at once: to
/// read it could block forever.
///
/// # Errors
/// Errors of the operating system; kind `InvalidInput` if `path` is not a regular file, and
/// `InvalidData` if the file is larger than 16 MiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    snapshot::read_regular(path, BYTES_MAX)
}

/// Like [`read`], for text in UTF-8.
///
/// # Errors
/// Those of [`read`]; kind `InvalidData` if the bytes are not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
