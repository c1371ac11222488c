//! `serve --ephemeral`: runs a server for tests of its users, in a directory that is removed at the
//! end, on free ports. Its addresses come as one JSON line on stdout. If its stdin is a pipe, it ends
//! with the process that holds the other end, so a test that crashes leaves no server behind.

use std::fs::Permissions;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{FileType, fstat};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

use super::Failure;
use super::failure::tell;
use super::result_file::print_json_line;
use crate::access::Endpoint;
use crate::config::Config;
use crate::node::rights::DIRECTORY_MODE;
use crate::server::{self, Addresses};

/// Connections of each door. Few are needed, and so many need no change of the descriptor limit.
const CONNECTIONS_MAX: usize = 256;

/// Runs an empty server until a signal stops the process.
pub fn run(mut config: Config) -> Result<(), Failure> {
    let doors = [
        ("listen", Some(&mut config.listen)),
        ("http", config.http.as_mut()),
        ("admin", config.admin.as_mut()),
    ];
    for (name, door) in doors {
        if let Some(door) = door.filter(|_| config.default_doors.contains(&name)) {
            *door = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
        }
    }
    serve(config, |addresses| {
        let of = |door: Option<&Endpoint>| door.map(|door| reachable(door).to_string());
        let line = json!({
            "tcp": of(Some(&addresses.tcp)),
            "http": of(addresses.http.as_ref()),
            "admin": of(addresses.admin.as_ref()),
        });
        if let Err(failure) = print_json_line(&line) {
            tell(format_args!("error: {failure}"));
        }
        // Before the server is ready, the signal would end it without removing its directory.
        end_with_stdin();
    })
}

/// Stops the process as SIGTERM does when stdin ends, if it is a pipe.
fn end_with_stdin() {
    let is_pipe = fstat(io::stdin()).is_ok_and(|stat| {
        matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
    });
    if !is_pipe {
        return;
    }
    std::thread::spawn(|| {
        let mut buffer = [0; 256];
        while io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        // A process may always send itself a signal.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

/// Serves a new directory until a signal stops the process, and then removes it. `on_ready` runs
/// when all doors are open.
pub fn serve(
    mut config: Config,
    on_ready: impl FnOnce(&Addresses) + Send + 'static,
) -> Result<(), Failure> {
    let directory = tempfile::Builder::new()
        .prefix("chatshard-")
        .permissions(Permissions::from_mode(DIRECTORY_MODE))
        .tempdir();
    let failed = |error| Failure::new(format!("throw-away directory: {error}"));
    let directory = directory.map_err(failed)?;
    config.data_dir = directory.path().to_owned();
    config.init = true;
    config.connections_max = config.connections_max.min(CONNECTIONS_MAX);
    let served = server::run_with(config, on_ready);
    let removed = directory.close();
    served.map_err(|error| Failure::new(error.to_string()))?;
    removed.map_err(failed)
}

/// The address at which this machine reaches a server that listens on all addresses: loopback.
pub fn reachable(endpoint: &Endpoint) -> Endpoint {
    let Endpoint::Tcp(address) = endpoint else { return endpoint.clone() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).into()
}
