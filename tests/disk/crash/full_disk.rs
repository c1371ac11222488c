//! A disk that fills under load and is freed again: reads continue, writes are refused, and they
//! work again afterwards. The data at the end must match what the refusals said.
//!
//! There are two such disks. A small tmpfs is filled by a file beside the data, which needs the
//! right to mount. A limit on the size of the server's files needs no right, and tears writes in
//! the middle. Both fail in the server's own write. If a machine cannot have one, the other still
//! shows all of this.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::list::List;
use chatshard::command::stats::Stats;
use chatshard::command::{Command as Request, Reply};
use rustix::process::{Resource, Rlimit, prlimit};

use super::{SMALL_FILES, on_this_thread, seed};
use crate::process::check::check;
use crate::process::load::{Load, user};
use crate::process::{PATIENCE, Refused, Server, Starting, serve};

/// How often the disk fills in one test.
const TIMES: usize = 3;

/// A disk that can be filled and freed while a server works on it.
trait SmallDisk {
    fn start(&self, arguments: &[&str]) -> Server;
    fn fill(&self, server: &Server);
    fn free(&self, server: &Server);
}

/// A file system of a few MiB.
struct Tmpfs {
    mounted: PathBuf,
    // Declared behind the mount, so that it is removed after it.
    _directory: tempfile::TempDir,
}

impl Tmpfs {
    /// `None` if this process may not mount.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = directory.path().join("disk");
        std::fs::create_dir(&mounted).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "chatshard-test"]).arg(&mounted);
        let output = mount.output().ok()?;
        output.status.success().then_some(Self { mounted, _directory: directory })
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl SmallDisk for Tmpfs {
    fn start(&self, arguments: &[&str]) -> Server {
        Server::start(&self.mounted.join("data"), arguments)
    }

    fn fill(&self, _: &Server) {
        let mut ballast = File::create(self.ballast()).unwrap();
        while ballast.write(&[0; 4096]).is_ok() {}
    }

    fn free(&self, _: &Server) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, because a server that a failed test leaves is only now being killed.
        drop(Command::new("umount").arg("--lazy").arg(&self.mounted).status());
    }
}

/// Files that may not grow beyond a size.
struct FileSizes(tempfile::TempDir);

impl FileSizes {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn limit(server: &Server, bytes: Option<u64>) -> rustix::io::Result<Rlimit> {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, limit)
    }
}

impl SmallDisk for FileSizes {
    fn start(&self, arguments: &[&str]) -> Server {
        let serve = serve(&self.0.path().join("data"), arguments);
        // Without this the system ends a process that writes beyond the limit.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program());
        command.args(serve.get_args());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Server::of(command)
    }

    fn fill(&self, server: &Server) {
        // In the middle of a segment, most likely also of a write.
        Self::limit(server, Some(33_333)).unwrap();
    }

    fn free(&self, server: &Server) {
        // A process that is gone has no limits any more.
        _ = Self::limit(server, None);
    }
}

/// Fills the disk and frees it under load, repeatedly. Then the server ends while the disk is full.
async fn fill_and_free(disk: &impl SmallDisk, fsync: &str) -> (u64, u64, u64) {
    let load = Load::new(seed());
    let arguments = [&["--shards", "2", "--fsync", fsync][..], &SMALL_FILES].concat();
    let mut server = disk.start(&arguments);
    let address = server.address;
    let play = async {
        for _ in 0..TIMES {
            acknowledged(&load, 300).await;
            disk.fill(&server);
            refused(&load, 50).await;
            reads_go_on(&server).await;
            disk.free(&server);
        }
        acknowledged(&load, 300).await;
        disk.fill(&server);
        refused(&load, 50).await;
        server.kill();
        disk.free(&server);
    };
    tokio::join!(load.write(address), play);
    let counts = {
        let ledger = load.ledger.borrow();
        (ledger.acknowledged, ledger.refused, ledger.unknown)
    };
    let mut server = disk.start(&arguments);
    check(server.address, &load.ledger).await;
    server.terminate();
    assert!(server.wait().success(), "{}", server.messages());
    counts
}

async fn acknowledged(load: &Rc<Load>, more: u64) {
    let count = load.ledger.borrow().acknowledged + more;
    tokio::time::timeout(PATIENCE, load.wait_acknowledged(count)).await.unwrap();
}

async fn refused(load: &Rc<Load>, more: u64) {
    let count = load.ledger.borrow().refused + more;
    let is_so = load.wait_until(|ledger| ledger.refused >= count);
    tokio::time::timeout(PATIENCE, is_so).await.unwrap();
}

async fn reads_go_on(server: &Server) {
    let (mut connection, _) =
        Connection::connect(server.address, &ClientOptions::default()).await.unwrap();
    let list = List { user_id: user(1), limit: None, cursor: None };
    for request in [Request::from(Stats {}), list.into()] {
        connection.send(&request).unwrap();
        connection.flush().await.unwrap();
        match connection.receive().await.unwrap().outcome.unwrap() {
            // An old snapshot that goes makes room for a moment.
            Reply::Stats(stats) => assert_ne!(stats.log.state, "poisoned"),
            Reply::List(list) => assert!(!list.items.is_empty()),
            other => panic!("{other:?}"),
        }
    }
}

async fn in_each_mode<D: SmallDisk>(name: &str, disk: impl Fn() -> D) {
    for fsync in ["always", "everysec", "never"] {
        let (acknowledged, refused, unknown) = fill_and_free(&disk(), fsync).await;
        println!(
            "{name}, {fsync}: {acknowledged} acknowledged, {refused} not applied, {unknown} unknown"
        );
    }
}

#[tokio::test]
async fn a_disk_that_fills_refuses_writes_until_it_is_freed() {
    on_this_thread(async {
        match Tmpfs::mount() {
            Some(_) => in_each_mode("tmpfs", || Tmpfs::mount().unwrap()).await,
            None => {
                println!("nothing can be mounted here: limits on the size of files stand for it");
                in_each_mode("limited files", FileSizes::new).await;
            }
        }
    })
    .await;
}

#[test]
fn a_start_on_a_full_disk_says_where_to_make_room() {
    let Some(disk) = Tmpfs::mount() else { return println!("nothing can be mounted here") };
    let fill = || {
        let mut ballast = File::create(disk.ballast()).unwrap();
        while ballast.write(&[0; 4096]).is_ok() {}
    };
    let refused = || {
        let command = serve(&disk.mounted.join("data"), &["--shards", "1"]);
        let Err(Refused { status, messages }) = Starting::of(command).ready() else {
            panic!("it starts");
        };
        assert_eq!(status.code(), Some(1), "{messages}");
        let advice = format!("Make room there (`df {}", disk.mounted.display());
        assert!(messages.contains("No space left"), "{messages}");
        assert!(messages.contains(&advice), "{messages}");
    };
    fill();
    refused();
    std::fs::remove_file(disk.ballast()).unwrap();
    // A store that is there, of which a start writes the last segment again.
    _ = std::fs::remove_dir_all(disk.mounted.join("data"));
    drop(Server::start(&disk.mounted.join("data"), &["--shards", "1"]));
    fill();
    refused();
}

#[tokio::test]
async fn files_that_may_not_grow_refuse_writes_until_they_may() {
    on_this_thread(async {
        in_each_mode("limited files", FileSizes::new).await;
    })
    .await;
}
