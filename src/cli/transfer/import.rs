//! `import`: a thread reads and parses the file, while the client keeps several requests in flight.
//!
//! Requests are sent in the order of the file, and their replies are handled in that order. The
//! members of a chat may be in a later request than the chat. The server still handles the chat
//! first, because requests of one connection reach each shard in the order sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::line::{LineBatch, LineBatches};
use super::{ImportArgs, LineCounts, progress};
use crate::cli::Failure;
use crate::cli::failure::tell;
use crate::cli::progress::Progress;
use crate::command::{Call, Command, Error, ErrorCode, Outcome, Reply};

/// Most requests that an import has in flight.
const IN_FLIGHT: usize = 8;
/// Most parsed batches that may wait to be sent.
const PARSED: usize = 4;
const READ_BUFFER_BYTES: usize = 1 << 20;
/// Shortest and longest pause before a request is sent again that a busy server refused.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a server may refuse one request as busy, before the import fails.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// Imports the lines of a file, or of stdin, into a server.
pub async fn run(args: ImportArgs) -> Result<(), Failure> {
    let name = if args.file == Path::new("-") {
        "stdin".to_owned()
    } else {
        args.file.display().to_string()
    };
    let (reader, length) = open(&args.file, &name)?;
    let client = args.connection.open().await?;
    let bar = progress(length, true);
    let started = Instant::now();
    let done = import(client, LineBatches::new(reader, &name, args.merge), &name, &bar).await;
    bar.clear();
    let counts = done?;
    tell(format_args!("{}", counts.summary("imported", started)));
    Ok(())
}

type Reader = Box<dyn BufRead + Send>;

/// Opens the file. Returns its length too, if it is known.
fn open(path: &Path, name: &str) -> Result<(Reader, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, io::stdin())), None));
    }
    let failed = |error: io::Error| Failure::new(format!("{name}: {error}"));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, file)), length))
}

/// Sends all batches. Stops at the first that the server refuses, or that cannot be read.
pub async fn import<C: Call, R: BufRead + Send + 'static>(
    client: C,
    batches: LineBatches<R>,
    name: &str,
    bar: &Progress,
) -> Result<LineCounts, Failure> {
    let mut parsed = parse_on_a_thread(batches)?;
    let mut pipeline = Pipeline {
        client,
        in_flight: VecDeque::new(),
        was_busy: false,
        counts: LineCounts::default(),
        taken_to: 0,
    };
    let started = Instant::now();
    while let Some(batch) = parsed.recv().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(failure) => {
                while pipeline.settle_oldest(name).await?.is_some() {}
                return Err(match pipeline.taken_to {
                    0 => Failure::new(format!("{failure} (no line was taken)")),
                    last => Failure::new(format!("{failure} (lines 1 to {last} were taken)")),
                });
            }
        };
        if pipeline.in_flight.len() >= IN_FLIGHT
            && let Some(bytes) = pipeline.settle_oldest(name).await?
        {
            bar.add(bytes);
            let seconds = started.elapsed().as_secs().max(1);
            bar.say(format!("{} lines/s", pipeline.counts.lines() / seconds));
        }
        pipeline.send(batch);
    }
    while let Some(bytes) = pipeline.settle_oldest(name).await? {
        bar.add(bytes);
    }
    Ok(pipeline.counts)
}

type Parsed = Result<LineBatch, Failure>;

fn parse_on_a_thread<R: BufRead + Send + 'static>(
    mut batches: LineBatches<R>,
) -> Result<mpsc::Receiver<Parsed>, Failure> {
    let (sender, receiver) = mpsc::channel(PARSED);
    let work = move || {
        while let Some(batch) = batches.next_batch().transpose() {
            let failed = batch.is_err();
            // The receiver is gone if the import has failed and reported it.
            if sender.blocking_send(batch).is_err() || failed {
                break;
            }
        }
    };
    let thread = std::thread::Builder::new().name("import-parse".to_owned()).spawn(work);
    thread.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    Ok(receiver)
}

struct Sent {
    /// The lines, kept to send them again if the server was too busy.
    batch: LineBatch,
    reply: JoinHandle<Outcome>,
}

struct Pipeline<C> {
    client: C,
    in_flight: VecDeque<Sent>,
    /// The server refused a request as busy while later ones were on their way. A later one may be
    /// refused too, because its chat was in the busy one.
    was_busy: bool,
    counts: LineCounts,
    /// The number of the line up to which all lines were accepted.
    taken_to: u64,
}

impl<C: Call> Pipeline<C> {
    fn send(&mut self, batch: LineBatch) {
        let client = self.client.clone();
        let command = Command::from(batch.import.clone());
        let reply = tokio::spawn(async move { client.call(command).await });
        self.in_flight.push_back(Sent { batch, reply });
    }

    /// Waits for the reply to the oldest request in flight. Returns how many bytes of the file the
    /// request had, or `None` if none is in flight.
    async fn settle_oldest(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(Sent { batch, reply }) = self.in_flight.pop_front() else {
            self.was_busy = false;
            return Ok(None);
        };
        let outcome = reply.await.map_err(|error| Failure::new(error.to_string()))?;
        let outcome = match outcome {
            Err(error) if self.is_passing(&error) => self.send_again(&batch).await,
            outcome => outcome,
        };
        match outcome {
            Ok(Reply::Import(reply)) => {
                self.counts.add(LineCounts { chats: reply.chats, members: reply.members });
                self.taken_to = batch.last_line;
                Ok(Some(batch.file_bytes))
            }
            Ok(_) => Err(Failure::new("the server answered another command")),
            Err(error) => Err(self.refused(name, &batch, &error).await),
        }
    }

    fn is_passing(&self, error: &Error) -> bool {
        error.code == ErrorCode::Busy || (self.was_busy && error.code == ErrorCode::NotFound)
    }

    /// Sends a batch again until the server is not busy. All earlier batches were accepted by then.
    async fn send_again(&mut self, batch: &LineBatch) -> Outcome {
        self.was_busy = true;
        let (started, mut pause) = (Instant::now(), PAUSE_MIN);
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match self.client.call(batch.import.clone().into()).await {
                Err(error) if error.code == ErrorCode::Busy && started.elapsed() < BUSY_MAX => {}
                outcome => return outcome,
            }
        }
    }

    /// The failure for a batch that the server refused. It names the lines of the batch, and the
    /// other lines that were accepted: earlier ones, and those of later batches already sent.
    async fn refused(&mut self, name: &str, batch: &LineBatch, error: &Error) -> Failure {
        let mut taken = Vec::new();
        if self.taken_to > 0 {
            taken.push(format!("1 to {}", self.taken_to));
        }
        for Sent { batch, reply } in self.in_flight.drain(..) {
            if matches!(reply.await, Ok(Ok(Reply::Import(_)))) {
                taken.push(format!("{} to {}", batch.first_line, batch.last_line));
            }
        }
        let others = match taken.is_empty() {
            true => "no other line was taken".to_owned(),
            false => format!("taken: lines {}", taken.join(", ")),
        };
        let (first, last) = (batch.first_line, batch.last_line);
        Failure::new(format!("{name}: lines {first} to {last}: {error} ({others})"))
    }
}
