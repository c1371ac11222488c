//! What an engine keeps of a journal: where it begins, where it ends, and who was the active last.

use crate::journal::base::JournalBase;
use crate::journal::client::{EngineClient, EnginePort};
use crate::journal::engine::{EngineReply, EngineRequest};
use crate::journal::entry::{ControlBody, JournalEntry};
use crate::journal::names::ActiveMember;
use crate::journal::reader::{AcceptedEntry, Content, JournalReader, Verdict};
use crate::limits::{JOURNAL_FORMAT, JOURNAL_READ_ENTRIES};

use super::genesis::ask;

/// The end of a journal, and the newest active that it names.
#[derive(Debug)]
pub struct JournalEnd {
    /// It has read all that the engine keeps.
    pub reader: JournalReader,
    /// The newest active that the base or a claim names.
    pub active: ActiveMember,
}

/// Why a journal could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// The engine did not reply.
    #[error("the engine of the journal gives no word")]
    NoWord,
    /// An entry or the base is damaged, missing, or of a newer program.
    #[error("{0}")]
    Unusable(String),
}

/// The base of the last trim; `None` if nothing is trimmed.
///
/// # Errors
/// [`NotRead::NoWord`]; [`NotRead::Unusable`] if the base is damaged.
pub fn read_base(client: &EngineClient, journal: u64) -> Result<Option<JournalBase>, NotRead> {
    match read(&client.port(), 1, 2)? {
        EngineReply::Gone { base } => decode(&base, journal).map(Some),
        _ => Ok(None),
    }
}

/// The epoch of the newest entry. It says whether the active of a base was replaced, without reading
/// all that the engine keeps.
///
/// # Errors
/// [`NotRead::NoWord`]; [`NotRead::Unusable`] if the entry is damaged.
pub fn newest_epoch(client: &EngineClient, journal: u64) -> Result<u64, NotRead> {
    let port = client.port();
    let Some(EngineReply::Tail { seq }) = ask(&port, 1, EngineRequest::Tail) else {
        return Err(NotRead::NoWord);
    };
    let EngineReply::Entries(entries) = read(&port, 2, seq)? else {
        return Err(NotRead::NoWord);
    };
    let entry = entries.first().ok_or(NotRead::NoWord)?;
    let damaged = || NotRead::Unusable("the newest entry is damaged".to_owned());
    let header = JournalEntry::decode(&entry.bytes).map_err(|_| damaged())?.header;
    (header.journal == journal).then_some(header.epoch).ok_or_else(damaged)
}

/// Reads all that the engine keeps, by the reader's rule.
///
/// # Errors
/// [`NotRead::NoWord`]; [`NotRead::Unusable`] if an entry or the base cannot be accepted.
pub fn read_to_end(client: &EngineClient, journal: u64) -> Result<JournalEnd, NotRead> {
    read_to_end_with(client, journal, |_| {})
}

/// Like [`read_to_end`], with each entry that is accepted. Behind genesis they may begin anew at the
/// base of a trim.
///
/// # Errors
/// Those of [`read_to_end`].
pub fn read_to_end_with(
    client: &EngineClient,
    journal: u64,
    mut on_entry: impl FnMut(&AcceptedEntry),
) -> Result<JournalEnd, NotRead> {
    let condition = client.profile().condition;
    let reader = JournalReader::new(journal, condition);
    let mut end = JournalEnd { reader, active: ActiveMember::default() };
    let port = client.port();
    for id in 1.. {
        let entries = match read(&port, id, end.reader.next_seq())? {
            EngineReply::Entries(entries) if !entries.is_empty() => entries,
            EngineReply::Gone { base } => {
                let base = decode(&base, journal)?;
                end.reader = JournalReader::begin(journal, condition, base.place);
                end.active = base.active;
                continue;
            }
            _ => break,
        };
        for entry in entries {
            match end.reader.accept(entry.seq, &entry.bytes) {
                Verdict::Accepted(entry) => {
                    on_entry(&entry);
                    if let Content::Control(ControlBody::Claim(facts)) = entry.content {
                        end.active = facts.active(entry.header.epoch);
                    }
                }
                Verdict::Void | Verdict::Repeated => {}
                Verdict::Gap(fault) | Verdict::Damaged(fault) | Verdict::Newer(fault) => {
                    return Err(NotRead::Unusable(fault.to_string()));
                }
            }
        }
    }
    Ok(end)
}

fn read(port: &EnginePort, id: u64, from: u64) -> Result<EngineReply, NotRead> {
    let request = EngineRequest::Read { from, max: JOURNAL_READ_ENTRIES, endpoint: None };
    match ask(port, id, request) {
        Some(reply @ (EngineReply::Entries(_) | EngineReply::Gone { .. })) => Ok(reply),
        _ => Err(NotRead::NoWord),
    }
}

fn decode(base: &[u8], journal: u64) -> Result<JournalBase, NotRead> {
    let unusable = |what: &str| NotRead::Unusable(format!("the base of the trim {what}"));
    let base = JournalBase::decode(base, journal).ok_or_else(|| unusable("is damaged"))?;
    match base.place.format {
        format if format > JOURNAL_FORMAT => {
            Err(unusable(&format!("is of a newer program, which writes format {format}")))
        }
        _ => Ok(base),
    }
}
