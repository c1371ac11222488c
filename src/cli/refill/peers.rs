//! The members that a refill asks, over their admin listeners.

use snapshot::{Batch, Lsn};

use super::FilledFrom;
use super::plan::EngineEnd;
use crate::cli::Failure;
use crate::client::download::{self, Download};
use crate::client::{Address, ClientTls};
use crate::journal::copied_log::CopiedLogReader;
use crate::journal::reach::JournalReach;
use crate::node::give::{MemberState, OtherMember};
use crate::node::refill::{RecordHashes, Refill};

/// Most bytes of what a member says of itself.
const STATE_BYTES_MAX: usize = 64 << 10;

/// Whom to ask, and how.
#[derive(Debug)]
pub struct AskedMembers {
    /// The admin listeners of all members.
    pub members: Vec<Address>,
    /// Names of members that are not asked.
    pub without: Vec<String>,
    /// The secret that they get.
    pub token: Option<String>,
    /// TLS, if their listeners speak it.
    pub tls: Option<ClientTls>,
}

/// A member that replied.
#[derive(Debug)]
pub struct AskedMember {
    pub(super) address: Address,
    /// What it says of itself.
    pub state: MemberState,
    /// The records of its log, from the first one that the engine keeps.
    pub hashes: RecordHashes,
}

impl AskedMember {
    /// How far it is known that the journal has come.
    pub(super) fn reach(&self) -> JournalReach {
        let MemberState { seq, epoch, lsn, .. } = self.state;
        JournalReach { seq, epoch, lsn: Lsn(lsn) }
    }

    pub(super) fn filled_from(&self) -> FilledFrom {
        FilledFrom {
            member: self.state.member.clone(),
            role: self.state.role.clone(),
            first_lsn: self.hashes.first.0,
            last_lsn: self.hashes.next().previous().0,
        }
    }
}

impl AskedMembers {
    /// Adds the members that the given ones know, but those that are left out.
    ///
    /// # Errors
    /// If a given member does not reply, or does not know an address. If a token would go to an
    /// address that the caller has not named, and TLS does not verify who is there.
    pub async fn with_known(mut self) -> Result<Self, Failure> {
        let mut known: Vec<Address> = Vec::new();
        for address in &self.members {
            let failed = |why: String| Failure::new(format!("{address}: {why}"));
            let state = self.state(address).await.map_err(failed)?;
            for OtherMember { member, admin } in state.others {
                if self.without.contains(&member) {
                    continue;
                }
                if admin.is_empty() {
                    return Err(failed(format!(
                        "{} does not know the admin listener of {member}: name the addresses of \
                         all members with --members, or leave it out: --without {member}",
                        state.member
                    )));
                }
                known.push(Address::from(admin.as_str()));
            }
        }
        known.retain(|address| !self.members.contains(address));
        if self.token.is_some() && self.tls.is_none() && !known.is_empty() {
            let all = self.members.iter().chain(&known).map(Address::to_string);
            return Err(Failure::new(format!(
                "without TLS a token goes only to addresses that you name. As far as is known, all \
                 members are: --members {}",
                all.collect::<Vec<_>>().join(",")
            )));
        }
        self.members.extend(known);
        Ok(self)
    }

    /// Asks every member what it is.
    ///
    /// # Errors
    /// If one does not reply, serves as the active, or is of another journal. If one names a member
    /// that is neither asked nor left out.
    pub(super) async fn states(&self, journal: u64) -> Result<Vec<AskedMember>, Failure> {
        let mut peers: Vec<AskedMember> = Vec::new();
        for address in &self.members {
            let state = self.state(address).await.map_err(|why| {
                Failure::new(format!(
                    "{address}: {why}. If that member is lost for good, leave out its address and \
                     name it: --without NAME"
                ))
            })?;
            let name = &state.member;
            if state.journal != journal {
                return Err(Failure::new(format!("{address}: {name} is of another journal")));
            }
            if state.role == "active" {
                let why = "is the active; a journal with an active lacks nothing";
                return Err(Failure::new(format!("{address}: {name} {why}")));
            }
            if peers.iter().any(|other| other.state.member == *name) {
                return Err(Failure::new(format!("two of the addresses are of {name}")));
            }
            let hashes = RecordHashes::new(Lsn(1));
            peers.push(AskedMember { address: address.clone(), state, hashes });
        }
        self.all_are_named(&peers)?;
        Ok(peers)
    }

    fn all_are_named(&self, peers: &[AskedMember]) -> Result<(), Failure> {
        let is_named = |name: &String| {
            self.without.contains(name) || peers.iter().any(|peer| peer.state.member == *name)
        };
        for peer in peers {
            let mut others = peer.state.others.iter().map(|other| &other.member);
            if let Some(other) = others.find(|name| !is_named(name)) {
                let by = &peer.state.member;
                return Err(Failure::new(format!(
                    "{by} knows a member {other}: add its address to --members, or leave it out: \
                     --without {other}"
                )));
            }
        }
        Ok(())
    }

    async fn get(&self, address: &Address, path: &str) -> Result<Download, String> {
        let got = download::get(address, self.tls.as_ref(), self.token.as_deref(), path).await?;
        match got.status() {
            200 => Ok(got),
            _ => Err(got.message().await),
        }
    }

    async fn state(&self, address: &Address) -> Result<MemberState, String> {
        let mut answer = self.get(address, "/journal/member").await?;
        let mut text = Vec::new();
        while let Some(piece) = answer.piece().await? {
            text.extend_from_slice(&piece);
            if text.len() > STATE_BYTES_MAX {
                return Err("its answer is too long".to_owned());
            }
        }
        serde_json::from_slice(&text).map_err(|error| format!("its answer: {error}"))
    }

    /// Reads the records of a log from `from` on, at least to `last`.
    async fn log(
        &self,
        peer: &AskedMember,
        from: Lsn,
        last: Lsn,
        mut on_batch: impl FnMut(&Batch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let failed = |why: String| Failure::new(format!("the log of {}: {why}", peer.state.member));
        let path = format!("/journal/log?from={from}");
        let mut answer = self.get(&peer.address, &path).await.map_err(failed)?;
        let mut reader = CopiedLogReader::new(peer.state.journal, from);
        while let Some(piece) = answer.piece().await.map_err(failed)? {
            for batch in reader.take(&piece).map_err(failed)? {
                on_batch(&batch)?;
            }
        }
        match reader.position() {
            end if end >= last => Ok(()),
            end => Err(failed(format!("it ends with LSN {end}, and had {last}"))),
        }
    }

    /// Hashes what a member has of the journal.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub(super) async fn hash(
        &self,
        peer: &mut AskedMember,
        engine: &EngineEnd,
    ) -> Result<(), Failure> {
        let from = engine.hashes.first.max(Lsn(peer.state.oldest_lsn));
        let last = Lsn(peer.state.durable_lsn);
        let mut hashes = RecordHashes::new(from);
        if from <= last {
            self.log(peer, from, last, |batch| {
                hashes.add(batch);
                Ok(())
            })
            .await?;
        }
        peer.hashes = hashes;
        Ok(())
    }

    /// Appends the records of a log behind what the journal has.
    ///
    /// # Errors
    /// If the log is not as it was hashed, or the engine refuses an entry.
    pub(super) async fn write(
        &self,
        peer: &AskedMember,
        planned: &RecordHashes,
        refill: &mut Refill,
    ) -> Result<(), Failure> {
        let from = refill.committed().next();
        let last = planned.next().previous();
        self.log(peer, from, last, |batch| {
            let mut hashes = RecordHashes::new(refill.committed().next());
            hashes.add(batch);
            if planned.difference(&hashes).is_some() || hashes.next() > planned.next() {
                let (name, first) = (&peer.state.member, hashes.first);
                let why = format!("the log of {name} has changed behind LSN {first}");
                return Err(Failure::new(why));
            }
            refill.append(batch).map_err(|error| Failure::new(error.to_string()))
        })
        .await
    }
}
