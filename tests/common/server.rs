//! The real server in this process, with a data directory and ports of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use chatshard::config::{Config, Environment, ServeArgs};
use chatshard::server::{self, Addresses, StartError};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// No test waits this long unless the server is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. If it is dropped without [`Self::stop`], it stops and its result is ignored.
pub struct TestServer {
    addresses: Addresses,
    dir: Option<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), StartError>>>,
}

impl TestServer {
    /// Starts a server on a new directory. `settings` are those of the settings file, by their
    /// names. Without `fsync` nothing is synced, because no test stops the machine.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut started = Self::start_in(&dir.path().join("data"), settings);
        started.dir = Some(dir);
        started
    }

    /// Like [`Self::start`], on a directory that the caller keeps.
    pub fn start_in(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let data_dir = data_dir.to_str().unwrap();
        let fixed = [
            ("data_dir", data_dir),
            ("listen", "127.0.0.1:0"),
            ("http", "127.0.0.1:0"),
            ("admin", "127.0.0.1:0"),
            ("fsync", "never"),
            ("pin", "false"),
        ];
        let environment: Environment = fixed
            .iter()
            .chain(settings)
            .map(|(name, value)| (chatshard::config::settings::variable(name), (*value).to_owned()))
            .collect();
        let config = Config::from_sources(&ServeArgs::default(), &environment).unwrap();
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let until = || async {
                // A sender that was dropped also stops the server.
                drop(stopped.await);
            };
            server::run_until(config, until, move |addresses| _ = ready.send(addresses.clone()))
        });
        match is_ready.recv_timeout(PATIENCE) {
            Ok(addresses) => Self { addresses, dir: None, stop: Some(stop), thread: Some(thread) },
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the server does not get ready"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("the server did not start: {:?}", thread.join())
            }
        }
    }

    /// The TCP door.
    pub fn tcp(&self) -> SocketAddr {
        self.addresses.tcp.network().unwrap()
    }

    /// The HTTP door of apps.
    pub fn http(&self) -> SocketAddr {
        self.addresses.http.as_ref().unwrap().network().unwrap()
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.admin.as_ref().unwrap().network().unwrap()
    }

    /// Stops the server as SIGTERM does, and checks that it ended cleanly.
    pub fn stop(mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        ended.unwrap_or_else(|_| panic!("the server panicked")).unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            drop(thread.join());
        }
    }
}

/// One HTTP/1.1 connection that carries one request after the other.
pub struct HttpConnection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl HttpConnection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), address }
    }

    /// Posts a body. Returns status and body of the answer.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        self.send_post(path, headers, body);
        self.answer()
    }

    /// Like [`Self::post`], of a body that is announced and not sent: a server that refuses it by its
    /// length closes the connection, and the sender of such a body may find that before the answer.
    pub fn announce(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        bytes: usize,
    ) -> (u16, String) {
        self.send(path, headers, bytes, "");
        self.answer()
    }

    fn send_post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) {
        self.send(path, headers, body.len(), body);
    }

    fn send(&mut self, path: &str, headers: &[(&str, &str)], bytes: usize, body: &str) {
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {bytes}\r\n\r\n{body}"));
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// Gets a page. Returns status and body of the answer.
    pub fn get(&mut self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    /// Like [`Self::get`], with further header lines.
    pub fn get_with(&mut self, path: &str, headers: &str) -> (u16, String) {
        let host = self.address;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        self.answer()
    }

    /// Sends a request of this user to a route of the app.
    pub fn post_as(&mut self, user: &str, path: &str, body: &str) -> (u16, String) {
        self.post(path, &[("x-user-id", user)], body)
    }

    /// Like [`Self::post`]. Returns the headers of the answer too, and its body as it came.
    pub fn post_for_all(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, HashMap<String, String>, Vec<u8>) {
        self.send_post(path, headers, body);
        self.whole_answer()
    }

    fn answer(&mut self) -> (u16, String) {
        let (status, _, body) = self.whole_answer();
        (status, String::from_utf8(body).unwrap())
    }

    fn whole_answer(&mut self) -> (u16, HashMap<String, String>, Vec<u8>) {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status =
            line.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {line:?}")).parse();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            let (name, value) =
                line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").expect("the answer has a length");
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (status.unwrap(), headers, body)
    }
}
