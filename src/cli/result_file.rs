//! Writes results to stdout, or to a file that appears whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::Failure;
use super::failure::{printable, printable_json};

const BUFFER_BYTES: usize = 1 << 20;

enum ResultOutput {
    /// stdout, or a target that is no regular file (a pipe, `/dev/null`), so it cannot be replaced
    /// by a rename.
    Stream(Box<dyn Write + Send>),
    /// A temporary file beside its target. [`ResultFile::finish`] renames it to the target.
    File(NamedTempFile, PathBuf),
}

/// The output of a command: lines for stdout or a file.
///
/// A file gets its name only after all lines are written and synced. If the command fails before,
/// an older file of that name stays, and the unfinished one is removed. Only the owner may read it.
pub struct ResultFile {
    name: String,
    buffer: Vec<u8>,
    output: ResultOutput,
    /// Whether lines of JSON are read by a person on a terminal.
    is_terminal: bool,
}

impl ResultFile {
    /// Opens `target`; `-` means stdout.
    pub fn create(target: &Path) -> Result<Self, Failure> {
        let name = target.display().to_string();
        let (output, is_terminal) = if target == Path::new("-") {
            (ResultOutput::Stream(Box::new(io::stdout())), io::stdout().is_terminal())
        } else {
            output_of(target).map_err(Failure::output(&name))?
        };
        let buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        Ok(Self { name, buffer, output, is_terminal })
    }

    /// The buffer to which the caller appends a line. It then calls [`Self::flush_if_full`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffered lines, if they are enough for one write.
    pub fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    /// Writes the lines that are left. A file is then synced and renamed to its target.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        let failed = Failure::output(&self.name);
        match self.output {
            ResultOutput::Stream(mut stream) => stream.flush().map_err(failed),
            ResultOutput::File(file, target) => persist(file, &target).map_err(failed),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let stream: &mut dyn Write = match &mut self.output {
            ResultOutput::Stream(stream) => stream,
            ResultOutput::File(file, _) => file,
        };
        if self.is_terminal {
            // The buffer holds whole lines, so no character is cut.
            let lines = String::from_utf8_lossy(&self.buffer).into_owned();
            self.buffer = printable_json(lines).into_bytes();
        }
        stream.write_all(&self.buffer).map_err(Failure::output(&self.name))?;
        self.buffer.clear();
        Ok(())
    }
}

/// Opens the target. The second value says whether it is a terminal.
fn output_of(target: &Path) -> io::Result<(ResultOutput, bool)> {
    // If the target is a link, the file behind it is replaced, not the link.
    let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    match std::fs::metadata(&target) {
        Ok(found) if found.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Ok(found) if !found.is_file() => {
            let stream = File::options().write(true).open(&target)?;
            let is_terminal = stream.is_terminal();
            Ok((ResultOutput::Stream(Box::new(stream)), is_terminal))
        }
        _ => Ok((ResultOutput::File(NamedTempFile::new_in(directory(&target))?, target), false)),
    }
}

fn persist(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The rename is durable only when the directory is synced.
    File::open(directory(target))?.sync_all()
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Prints lines to stdout, and escapes characters that would control a terminal.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let written =
        stdout.write_all(printable(text).as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    written.and_then(|()| stdout.flush()).map_err(Failure::output("stdout"))
}

/// Prints JSON to stdout on one line, and flushes it.
pub fn print_json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    print(&printable_json(text))
}

/// Prints JSON to stdout: indented on a terminal, on one line for a program.
pub fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = if io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    print(&printable_json(text.map_err(|error| Failure::new(error.to_string()))?))
}
