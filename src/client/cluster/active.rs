//! Who the active of some addresses is.
//!
//! Invariants:
//! - Every address is asked at once, each over a connection of its own, so a silent member holds
//!   nobody up.
//! - The token goes to the given addresses alone. An address that a member names is not asked.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::client::{Address, Client, ClientError, ClientOptions, YEAR};
use crate::command::cluster::Cluster;
use crate::command::hello::HelloReply;
use crate::command::{Call, Reply};

/// Time between two questions to one member.
const LOOK: Duration = Duration::from_millis(50);
/// How long the others may take once a member has replied.
const OTHERS: Duration = Duration::from_secs(1);
/// How long a member that has replied to `hello` may take to name the members.
const NAME_PATIENCE: Duration = Duration::from_secs(1);

/// The active of a journal, as one of its members knows it. A node without a journal is the active
/// of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownActive {
    /// Its name; empty if it is not known, or there is no journal.
    pub member: String,
    /// The address of its TCP door, as it advertises it. A client behind a proxy may not reach it
    /// there.
    pub address: String,
    /// The number of its claim; 0 without a journal.
    pub epoch: u64,
    /// The id of the journal; 0 without one.
    pub journal: u64,
    /// The address that was asked, of the member that says so.
    pub said_by: Address,
    /// Whether the active itself says so.
    pub is_itself: bool,
}

/// Asks all addresses who the active is. Returns what the active itself says, as soon as it does.
/// Else it waits for the others, at most [`OTHERS`] from the first reply on, and returns what is
/// said of the newest claim.
///
/// # Errors
/// [`ClientError::NoActive`] if no member knows an active. Another error if no address replies
/// within the `connect_timeout` of the options.
pub(super) async fn find(
    addresses: &[Address],
    options: &ClientOptions,
) -> Result<KnownActive, ClientError> {
    let ask_once = |address: &Address| {
        let (address, options) = (address.clone(), options.clone());
        async move { ask(address, &options, |_| true).await }
    };
    let mut asked: JoinSet<_> = addresses.iter().map(ask_once).collect();
    let mut newest: Option<KnownActive> = None;
    let mut none = ClientError::Closed;
    let mut deadline = Instant::now() + YEAR;
    while let Ok(Some(said)) = timeout_at(deadline, asked.join_next()).await {
        match said.map_err(|_| ClientError::Closed).flatten() {
            Ok(Some(active)) => {
                deadline = deadline.min(Instant::now() + OTHERS);
                let is_newest = newest.as_ref().is_none_or(|known| known.epoch <= active.epoch);
                if is_newest && active.is_itself {
                    return Ok(active);
                }
                newest = if is_newest { Some(active) } else { newest };
            }
            Ok(None) => none = ClientError::NoActive,
            Err(error) if !matches!(none, ClientError::NoActive) => none = error,
            Err(_) => {}
        }
    }
    newest.ok_or(none)
}

/// Waits for an active whose claim is newer than `epoch`. Returns it as soon as anyone at these
/// addresses knows it; `None` if nobody does within `at_most`.
pub(super) async fn next(
    addresses: &[Address],
    options: &ClientOptions,
    epoch: u64,
    at_most: Duration,
) -> Option<KnownActive> {
    let ask_often = |address: &Address| {
        let (address, options) = (address.clone(), options.clone());
        async move {
            loop {
                let is_newer = |hello: &HelloReply| hello.epoch > epoch;
                if let Ok(Some(active)) = ask(address.clone(), &options, is_newer).await {
                    return active;
                }
                sleep(LOOK).await;
            }
        }
    };
    let mut asked: JoinSet<_> = addresses.iter().map(ask_often).collect();
    let now = Instant::now();
    let deadline = now.checked_add(at_most).unwrap_or(now + YEAR);
    timeout_at(deadline, asked.join_next()).await.ok()??.ok()
}

/// The active that the member at this address knows, if `hello` says what is wanted.
async fn ask(
    address: Address,
    options: &ClientOptions,
    is_wanted: impl FnOnce(&HelloReply) -> bool,
) -> Result<Option<KnownActive>, ClientError> {
    let client = Client::connect(address.clone(), options.clone()).await?;
    let HelloReply { role, active, epoch, journal, .. } = client.hello().clone();
    let is_itself = role == "active";
    // Without a journal there is no address but the one that was asked.
    let named = match active.is_empty() && is_itself {
        true => address.to_string(),
        false => active,
    };
    if named.is_empty() || !is_wanted(client.hello()) {
        return Ok(None);
    }
    let member = name_of(&client, &named).await.unwrap_or_default();
    Ok(Some(KnownActive { member, address: named, epoch, journal, said_by: address, is_itself }))
}

/// The name of the member at `address`, as the client's server knows it.
async fn name_of(client: &Client, address: &str) -> Option<String> {
    let reply = timeout(NAME_PATIENCE, client.call(Cluster {}.into())).await.ok()?;
    let Ok(Reply::Cluster(reply)) = reply else { return None };
    let member = reply.members.into_iter().find(|member| member.address == address)?;
    Some(member.member)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::tests::{Peer, serve};
    use crate::command::Outcome;
    use crate::command::cluster::{ClusterMember, ClusterReply};
    use crate::command::hello::Limits;

    /// A member that says this in `hello`, and knows the names of two members.
    async fn member(role: &'static str, active: &'static str, epoch: u64) -> Address {
        let greet = move |listener: TcpListener| async move {
            loop {
                let mut peer = Peer::accept(&listener).await;
                let Some(hello) = peer.request().await else { continue };
                let limits = Limits::of_this_build();
                let (role, active, journal) = (role.to_owned(), active.to_owned(), 7);
                let reply =
                    HelloReply { role, active, epoch, journal, limits, ..HelloReply::default() };
                peer.reply(hello.id, &Ok(Reply::Hello(Box::new(reply)))).await;
                if let Some(request) = peer.request().await {
                    peer.reply(request.id, &cluster()).await;
                }
            }
        };
        serve::<_, ()>(greet).await.0.into()
    }

    fn cluster() -> Outcome {
        let named = |(member, address): (&str, &str)| ClusterMember {
            member: member.into(),
            address: address.into(),
            ..ClusterMember::default()
        };
        let members = [("one", "a:1"), ("two", "b:1")].map(named).into();
        Ok(Reply::Cluster(ClusterReply { members, ..ClusterReply::default() }))
    }

    /// An address where nobody replies, with the listener that must live on.
    async fn silent() -> (Address, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap().into(), listener)
    }

    #[tokio::test]
    async fn the_newest_that_anyone_knows_counts() {
        let (silent, _kept) = silent().await;
        let old = member("standby", "a:1", 1).await;
        let new = member("standby", "b:1", 2).await;
        let known = find(&[silent, old, new.clone()], &ClientOptions::default()).await.unwrap();
        assert_eq!((known.member.as_str(), known.address.as_str()), ("two", "b:1"));
        assert_eq!((known.epoch, known.journal, known.is_itself), (2, 7, false));
        assert_eq!(known.said_by, new);
    }

    #[tokio::test]
    async fn an_active_that_replies_itself_is_waited_for_no_longer() {
        let (silent, _kept) = silent().await;
        let active = member("active", "b:1", 2).await;
        let begun = Instant::now();
        let known = find(&[silent, active], &ClientOptions::default()).await.unwrap();
        assert!(known.is_itself && known.member == "two" && begun.elapsed() < OTHERS);
    }

    #[tokio::test]
    async fn a_node_without_a_journal_is_the_active_of_itself() {
        let alone = member("active", "", 0).await;
        let known = find(std::slice::from_ref(&alone), &ClientOptions::default()).await.unwrap();
        assert_eq!((known.member.as_str(), known.address), ("", alone.to_string()));
    }

    #[tokio::test]
    async fn nobody_is_named_where_nobody_is_known() {
        let (gone, listener) = silent().await;
        drop(listener);
        let new = member("standby", "", 0).await;
        let none = find(&[gone.clone(), new], &ClientOptions::default()).await;
        assert!(matches!(none, Err(ClientError::NoActive)), "{none:?}");
        let none = find(&[gone], &ClientOptions::default()).await;
        assert!(matches!(none, Err(ClientError::Connect { .. })), "{none:?}");
    }

    #[tokio::test]
    async fn the_next_active_is_known_as_soon_as_anyone_knows_it() {
        let (silent, _kept) = silent().await;
        let old = member("demoted", "a:1", 1).await;
        let ms = Duration::from_millis;
        let members = [silent, old, member("standby", "b:1", 2).await];
        let options = ClientOptions::default();
        let known = next(&members, &options, 1, Duration::from_secs(60)).await.unwrap();
        assert_eq!((known.member.as_str(), known.epoch), ("two", 2));
        assert_eq!(next(&members, &options, 2, ms(200)).await, None);
    }
}
