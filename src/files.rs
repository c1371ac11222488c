//! Files that an operator names: settings, tokens, keys, certificates.

use std::io;
use std::path::Path;

/// Largest of these files, in bytes.
const BYTES_MAX: usize = 16 << 20;

/// All bytes of a file. A named pipe, a device or a directory is refused at once, so that nobody waits for one.
///
/// # Errors
/// Those of the operating system; kind `InvalidInput` for what is no regular file, `InvalidData` for one that is too long.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    snapshot::read_regular(path, BYTES_MAX)
}

/// Like [`read`], for text in UTF-8.
///
/// # Errors
/// As [`read`]; kind `InvalidData` for other bytes.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
