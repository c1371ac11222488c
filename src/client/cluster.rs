//! A client of the members of one journal: it finds the active, and finds it again after a
//! failover.
//!
//! Invariants:
//! - A call that a member refused as not the active (421) was not applied, so it goes on to the
//!   active, whatever it is.
//! - A call that ends with 503 is repeated only if it reads, or has an idempotency key. If one of
//!   its attempts may have been applied, no later error says "not applied".
//! - The token goes to the addresses that the caller named. It goes to an address that a server
//!   named only if TLS verifies who is there.
//! - A call ends within the time-out of the options, or a little later.
//! - With one address it is a [`Client`]: nothing is repeated, and a lost connection is made again
//!   by the next call.
//!
//! Calls of one task are in order. Calls that are under way together at a failover may be repeated
//! in another order.

mod active;
mod changes;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

pub use self::active::KnownActive;
pub use self::changes::ClusterChanges;
use super::{Address, Client, ClientError, ClientOptions, YEAR, unanswered};
use crate::command::ping::Ping;
use crate::command::{Call, Class, Command, Error, ErrorCode, Outcome};

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// A server that says nothing for so long is asked whether it is there, and left if it is silent for
/// as long again.
const SILENCE: Duration = Duration::from_secs(2);

/// A client of several members. Clones share its connection.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    members: Arc<[Address]>,
    options: Arc<ClientOptions>,
    chosen: Arc<Mutex<Chosen>>,
    trouble: Arc<std::sync::Mutex<Option<Error>>>,
}

#[derive(Debug, Default)]
struct Chosen {
    client: Option<Client>,
    /// Where that client is connected.
    address: Option<Address>,
    /// The address that was silent last, and since when that is known.
    silent: Option<(Address, Instant)>,
    /// An address that a member named as the active's.
    named: Option<Address>,
    /// The member to try next, among those of the caller.
    next: usize,
}

impl Chosen {
    /// Returns the addresses in the order in which to try them. An address that was silent just now is
    /// the last one, even if a member names it as that of the active.
    fn take_addresses(&mut self, members: &[Address], now: Instant) -> Vec<Address> {
        let named = self.named.take();
        let from = self.next % members.len().max(1);
        let (before, behind) = members.split_at(from.min(members.len()));
        let others = behind.iter().chain(before).filter(|address| Some(*address) != named.as_ref());
        let (last, mut addresses): (Vec<_>, Vec<_>) =
            named.iter().chain(others).cloned().partition(|address| {
                let silent = self.silent.as_ref().filter(|(silent, _)| silent == address);
                silent.is_some_and(|(_, since)| now.duration_since(*since) < SILENCE)
            });
        addresses.extend(last);
        addresses
    }
}

/// What an attempt has shown.
enum Attempt {
    /// The reply of the active.
    Over(Outcome),
    /// Nothing was applied: the node is not the active. It may have named the one that is.
    Elsewhere(Error, bool),
    /// The connection or the node cannot serve now.
    Failed(Error),
}

impl ClusterClient {
    /// Connects to the first member that accepts `hello`. Later calls find the active.
    ///
    /// # Errors
    /// The error of the last member, if none accepts it.
    pub async fn connect(
        members: impl IntoIterator<Item = impl Into<Address>>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let client = Self {
            members: members.into_iter().map(Into::into).collect(),
            options: Arc::new(options),
            chosen: Arc::default(),
            trouble: Arc::default(),
        };
        client.client().await?;
        Ok(client)
    }

    /// Asks all addresses of this client at once who the active is, each over a connection of its
    /// own. Returns what the active itself says, as soon as it does. Else it waits for the others,
    /// at most 1 s from the first reply on, and returns what is said of the newest claim.
    ///
    /// # Errors
    /// [`ClientError::NoActive`] if no member knows an active. Another error if no address replies
    /// within the `connect_timeout` of the options.
    pub async fn active(&self) -> Result<KnownActive, ClientError> {
        active::find(&self.members, &self.options).await
    }

    /// Waits for an active whose claim is newer than `epoch`, as behind a handover. Returns it as
    /// soon as anyone at the addresses of this client knows it; `None` if nobody does within
    /// `at_most`.
    pub async fn next_active(&self, epoch: u64, at_most: Duration) -> Option<KnownActive> {
        active::next(&self.members, &self.options, epoch, at_most).await
    }

    /// Why the newest attempt of a call failed that is being repeated. `None` if none is.
    pub fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The client of the chosen member. Connects to one if there is none.
    async fn client(&self) -> Result<Client, ClientError> {
        let mut chosen = self.chosen.lock().await;
        if let Some(client) = chosen.client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let mut result = Err(ClientError::Closed);
        for address in chosen.take_addresses(&self.members, Instant::now()) {
            result = Client::connect(address.clone(), (*self.options).clone()).await;
            if let Ok(client) = &result {
                (chosen.client, chosen.address) = (Some(client.clone()), Some(address));
                break;
            }
            if matches!(result, Err(ClientError::Timeout(_))) {
                chosen.silent = Some((address, Instant::now()));
            }
            chosen.next = chosen.next.wrapping_add(1);
        }
        result
    }

    /// Leaves a client that could not serve, for the address that it named or for the next member.
    /// Returns whether there is another one.
    async fn leave(&self, client: &Client, named: Option<Address>, is_silent: bool) -> bool {
        let is_other = named.is_some() || !self.is_alone();
        let mut chosen = self.chosen.lock().await;
        let is_chosen = |other: &Client| Arc::ptr_eq(&other.shared, &client.shared);
        if chosen.client.as_ref().is_some_and(is_chosen) {
            chosen.client = None;
            if is_silent {
                chosen.silent = chosen.address.take().map(|address| (address, Instant::now()));
            }
            chosen.next = chosen.next.wrapping_add(1);
            chosen.named = named;
        }
        is_other
    }

    fn is_alone(&self) -> bool {
        self.members.len() <= 1
    }

    fn may_know_the_token(&self, address: &Address) -> bool {
        self.members.contains(address) || self.options.tls.is_some() || self.options.token.is_none()
    }

    async fn attempt(&self, command: Command) -> Attempt {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return Attempt::Failed(Error::not_applied(&error.to_string())),
        };
        let class = command.class();
        let (outcome, is_silent) = tokio::select! {
            outcome = client.call(command) => (outcome, false),
            () = silence(&client), if !self.is_alone() => {
                (Err(unanswered(class, "the server is silent")), true)
            }
        };
        match outcome {
            Err(error) if error.code == ErrorCode::Moved => {
                let named = error.moved.as_ref().map(|moved| moved.address.as_str());
                let named = named.filter(|address| !address.is_empty()).map(Address::from);
                let named = named.filter(|named| self.may_know_the_token(named));
                let is_named = named.is_some();
                match self.leave(&client, named, false).await {
                    true => Attempt::Elsewhere(error, is_named),
                    false => Attempt::Over(Err(error)),
                }
            }
            Err(error) if error.code == ErrorCode::Unavailable => {
                self.leave(&client, None, is_silent).await;
                Attempt::Failed(error)
            }
            outcome => Attempt::Over(outcome),
        }
    }
}

/// Returns when a server does not reply to a ping.
async fn silence(client: &Client) {
    loop {
        sleep(SILENCE).await;
        let asked = timeout(SILENCE, client.call(Ping {}.into()));
        if asked.await.is_err() {
            return;
        }
    }
}

impl Call for ClusterClient {
    /// Sends the command to the active, and waits for its reply.
    async fn call(&self, command: Command) -> Outcome {
        let is_harmless = command.class() == Class::Read || command.is_keyed();
        let may_repeat = is_harmless && !self.is_alone();
        let now = Instant::now();
        let deadline = now.checked_add(self.options.call_timeout).unwrap_or(now + YEAR);
        let mut unknown = None;
        let mut has_hopped = false;
        loop {
            let (error, may_go_on, is_named) = match self.attempt(command.clone()).await {
                Attempt::Over(outcome) => {
                    self.note(None);
                    return outcome.map_err(|error| known(unknown, error));
                }
                Attempt::Elsewhere(error, is_named) => (error, true, is_named),
                Attempt::Failed(error) => (error, may_repeat, false),
            };
            if error.is_outcome_unknown() {
                unknown = Some(error.clone());
            }
            if !may_go_on || Instant::now() >= deadline {
                self.note(None);
                return Err(known(unknown, found_none(error)));
            }
            self.note(Some(error));
            // Two members that name each other are not asked without a pause.
            has_hopped = is_named && !has_hopped;
            if !has_hopped {
                sleep(PAUSE).await;
            }
        }
    }
}

/// The error of a call whose time is over. Where the active should be helps nobody then.
fn found_none(error: Error) -> Error {
    match error.code {
        ErrorCode::Moved => {
            Error::not_applied(&format!("no member is the active: {}", error.message))
        }
        _ => error,
    }
}

/// The error that tells what is known of all attempts.
fn known(unknown: Option<Error>, error: Error) -> Error {
    match error.code {
        ErrorCode::Busy | ErrorCode::Moved | ErrorCode::Unavailable => unknown.unwrap_or(error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Peer, list, serve};
    use super::*;
    use crate::command::Reply;
    use crate::command::delete::Delete;
    use crate::command::error::Moved;
    use crate::command::hello::Limits;
    use crate::types::{IdempotencyKey, UserId};

    fn delete(key: Option<&str>) -> Command {
        let idempotency_key = key.map(|key| IdempotencyKey::new(key).unwrap());
        let user_id = UserId::new("u").unwrap();
        Delete { user_id, ids: vec![], up_to: None, idempotency_key }.into()
    }

    /// The replies of a member to its requests, one connection after the other. A connection ends
    /// where there is no reply. Returns what it was asked.
    async fn member(
        connections: Vec<Vec<Option<Outcome>>>,
    ) -> (Address, tokio::task::JoinHandle<Vec<Command>>) {
        let (address, member) = serve(|listener| async move {
            let mut asked = Vec::new();
            for replies in connections {
                let mut peer = Peer::greet(&listener, Limits::of_this_build()).await;
                for reply in replies {
                    let Some(request) = peer.request().await else { break };
                    asked.push(request.command);
                    let Some(reply) = reply else { break };
                    peer.reply(request.id, &reply).await;
                }
            }
            asked
        })
        .await;
        (address.into(), member)
    }

    fn moved(address: impl ToString) -> Option<Outcome> {
        Some(Err(Error::moved(Moved { address: address.to_string(), epoch: 2 })))
    }

    fn done() -> Option<Outcome> {
        Some(Ok(Reply::Delete(())))
    }

    #[tokio::test]
    async fn a_member_names_the_active_and_the_call_goes_on_to_it() {
        let (active, asked) = member(vec![vec![done(), done()]]).await;
        let (standby, told) = member(vec![vec![moved(&active)]]).await;
        let (unused, _) = member(vec![]).await;
        let members = [standby, unused, active];
        let client = ClusterClient::connect(members, ClientOptions::default()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.call(delete(None)).await, Ok(Reply::Delete(())));
        }
        drop(client);
        assert_eq!(told.await.unwrap(), [delete(None)]);
        assert_eq!(asked.await.unwrap(), [delete(None), delete(None)]);
    }

    #[tokio::test]
    async fn only_reads_and_writes_with_a_key_are_repeated() {
        for (command, is_repeated) in
            [(delete(None), false), (delete(Some("k")), true), (list(1), true)]
        {
            let (gone, _) = member(vec![vec![None]]).await;
            let reply = Err(Error::no_chat());
            let (other, _) = member(vec![vec![Some(reply.clone())]]).await;
            let client = ClusterClient::connect([gone, other], ClientOptions::default());
            let outcome = client.await.unwrap().call(command).await;
            match is_repeated {
                true => assert_eq!(outcome, reply),
                false => assert!(outcome.unwrap_err().is_outcome_unknown()),
            }
        }
    }

    #[tokio::test]
    async fn what_may_have_been_applied_is_never_called_not_applied() {
        let (gone, _) = member(vec![vec![None]]).await;
        let refused = || Some(Err(Error::not_applied("no active")));
        let (other, _) = member((0..100).map(|_| vec![refused()]).collect()).await;
        let call_timeout = Duration::from_millis(300);
        let options = ClientOptions { call_timeout, ..ClientOptions::default() };
        let client = ClusterClient::connect([gone, other], options).await.unwrap();
        let error = client.call(delete(Some("k"))).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
    }

    #[tokio::test]
    async fn members_of_which_none_is_the_active_are_named_as_the_cause() {
        let standby = || member((0..100).map(|_| vec![moved("")]).collect());
        let ((one, _), (other, _)) = (standby().await, standby().await);
        let call_timeout = Duration::from_millis(300);
        let options = ClientOptions { call_timeout, ..ClientOptions::default() };
        let client = ClusterClient::connect([one, other], options).await.unwrap();
        let error = client.call(delete(None)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.starts_with("not applied: no member is the active"), "{error}");
    }

    #[tokio::test]
    async fn a_token_goes_to_no_address_that_only_a_server_named() {
        let (stranger, asked) = member(vec![vec![done()]]).await;
        let (standby, _) = member(vec![vec![moved(&stranger)]]).await;
        let (active, _) = member(vec![vec![done()]]).await;
        let token = Some("secret".to_owned());
        let options = ClientOptions { token, ..ClientOptions::default() };
        let alone = ClusterClient::connect([standby.clone()], options.clone()).await.unwrap();
        assert_eq!(alone.call(delete(None)).await.unwrap_err().code, ErrorCode::Moved);
        let (standby, _) = member(vec![vec![moved(&stranger)]]).await;
        let client = ClusterClient::connect([standby, active], options).await.unwrap();
        assert_eq!(client.call(delete(None)).await, Ok(Reply::Delete(())));
        assert!(!asked.is_finished(), "the stranger was greeted");
    }

    #[tokio::test]
    async fn an_address_that_was_silent_is_tried_last_for_a_while() {
        let [a, b, c, d] = ["a:1", "b:1", "c:1", "d:1"].map(Address::from);
        let members = [a.clone(), b.clone(), c.clone()];
        let now = Instant::now();
        let silent = Some((b.clone(), now));
        let mut chosen = Chosen { next: 4, silent, ..Chosen::default() };
        assert_eq!(chosen.take_addresses(&members, now), [c.clone(), a.clone(), b.clone()]);
        chosen.named = Some(d.clone());
        let all = [d, c.clone(), a.clone(), b.clone()];
        assert_eq!(chosen.take_addresses(&members, now), all);
        chosen.named = Some(b.clone());
        assert_eq!(chosen.take_addresses(&members, now), [c.clone(), a.clone(), b.clone()]);
        chosen.named = Some(b.clone());
        assert_eq!(chosen.take_addresses(&members, now + SILENCE), [b.clone(), c, a]);
        assert_eq!(chosen.take_addresses(std::slice::from_ref(&b), now), [b]);
        assert_eq!(chosen.take_addresses(&[], now), []);
    }

    #[tokio::test]
    async fn one_address_is_tried_once() {
        let (gone, _) = member(vec![vec![None], vec![done()]]).await;
        let client = ClusterClient::connect([gone], ClientOptions::default()).await.unwrap();
        let error = client.call(delete(Some("k"))).await.unwrap_err();
        assert!(error.is_outcome_unknown());
        assert_eq!(client.call(delete(Some("k"))).await, Ok(Reply::Delete(())));
    }
}
