//! The adapter of etcd shows who it is: a user with rights on one journal, and certificates.

use std::fs;
use std::time::Duration;

use chatshard::journal::client::EnginePort;
use chatshard::journal::engine::{EngineAccess, EngineReply, EngineRequest, EngineTls};
use chatshard::journal::etcd::{EtcdSettings, start};
use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::engine::Engine;

const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn call(port: &EnginePort, request: EngineRequest) -> EngineReply {
    port.send(1, request);
    port.receive(PATIENCE).unwrap().1
}

fn append(expect: u64) -> EngineRequest {
    EngineRequest::Append { expect, entry: vec![1, 2, 3].into() }
}

/// A role on the keys that begin with `prefix`, and a user of the same name that has it.
async fn add_user(admin: &mut Client, name: &str, prefix: &str) {
    admin.role_add(name).await.unwrap();
    let on = Permission::new(PermissionType::Readwrite, prefix).with_prefix();
    admin.role_grant_permission(name, on).await.unwrap();
    admin.user_add(name, "secret", None).await.unwrap();
    admin.user_grant_role(name, name).await.unwrap();
}

#[test]
fn a_user_reaches_its_own_journal_alone() {
    let Some(engine) = Engine::start() else { return };
    let runtime = runtime();
    let root = ConnectOptions::new().with_user("root", "secret");
    let mut admin = runtime.block_on(async {
        let mut admin = Client::connect([engine.host(0)], None).await.unwrap();
        add_user(&mut admin, "im", "im/").await;
        admin.user_add("root", "secret", None).await.unwrap();
        admin.user_grant_role("root", "root").await.unwrap();
        admin.auth_enable().await.unwrap();
        Client::connect([engine.host(0)], Some(root)).await.unwrap()
    });
    let settings = |journal: &str, user: Option<(&str, &str)>| {
        let owned = |(name, password): (&str, &str)| (name.to_owned(), password.to_owned());
        let access = EngineAccess { user: user.map(owned), tls: None };
        EtcdSettings::new(engine.hosts(), journal.to_owned(), access)
    };
    let port = start(settings("im", Some(("im", "secret")))).unwrap().port();
    assert_eq!(call(&port, append(0)), EngineReply::Appended { seq: 1 });
    assert_eq!(call(&port, EngineRequest::Tail), EngineReply::Tail { seq: 1 });
    // Another user comes: who is known already must show it again.
    runtime.block_on(add_user(&mut admin, "other", "other/"));
    let replies = [call(&port, append(1)), call(&port, append(1))];
    assert!(replies.contains(&EngineReply::Appended { seq: 2 }), "{replies:?}");
    let trim = EngineRequest::Trim { epoch: 1, upto: 1, base: vec![7].into() };
    assert_eq!(call(&port, trim), EngineReply::Trimmed);

    let other = start(settings("im", Some(("other", "secret")))).unwrap().port();
    for request in [append(2), EngineRequest::Tail] {
        assert_eq!(call(&other, request), EngineReply::Unknown);
    }
    assert_eq!(call(&port, EngineRequest::Tail), EngineReply::Tail { seq: 2 });
    let wrong = start(settings("im", Some(("im", "wrong")))).err().unwrap().to_string();
    assert!(wrong.contains("invalid user ID or password"), "{wrong}");
}

/// An authority, and a certificate that it signed, in PEM.
struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

impl Issued {
    fn new() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certified = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let (authority, certificate) = (certified.pem(), certificate.pem());
        Self { authority, certificate, key: key.serialize_pem() }
    }

    fn tls(&self) -> EngineTls {
        let identity = (self.certificate.clone().into(), self.key.clone().into());
        EngineTls { authority: self.authority.clone().into(), identity: Some(identity) }
    }
}

#[test]
fn certificates_are_checked_both_ways() {
    let (issued, others) = (Issued::new(), Issued::new());
    let files = TempDir::new().unwrap();
    for (name, text) in [
        ("authority.pem", &issued.authority),
        ("certificate.pem", &issued.certificate),
        ("key.pem", &issued.key),
    ] {
        fs::write(files.path().join(name), text).unwrap();
    }
    let Some(engine) = Engine::with_tls(files.path()) else { return };
    let begin = |tls: EngineTls| {
        let access = EngineAccess { user: None, tls: Some(tls) };
        start(EtcdSettings::new(engine.hosts(), "im".to_owned(), access))
    };
    let port = begin(issued.tls()).unwrap().port();
    assert_eq!(call(&port, append(0)), EngineReply::Appended { seq: 1 });
    let foreign_authority =
        EngineTls { authority: others.authority.clone().into(), ..issued.tls() };
    let foreign_identity = EngineTls { authority: issued.authority.clone().into(), ..others.tls() };
    for wrong in [foreign_authority, foreign_identity, EngineTls { identity: None, ..issued.tls() }]
    {
        assert!(begin(wrong).is_err());
    }
}
