//! Settings in a file and in the environment, and the files that they name. They are accepted as a
//! whole or refused with the place of the error, and no message shows a secret.
//!
//! Input: pieces. First the settings file, then the tokens, the secret and the JWK set that it may
//! name as `DIR/tokens`, `DIR/secret`, `DIR/keys`, then variables as `NAME=VALUE`.

use std::path::Path;

use chatshard::config::{Config, Environment, ServeArgs};
use tempfile::TempDir;

use super::bytes::Bytes;

const FILES: [&str; 4] = ["config", "tokens", "secret", "keys"];
/// Prefix of every secret, to search for in messages.
const MARK: &str = "hush-";

/// Loads settings that may be anything, and searches messages for secrets.
pub fn run(input: &[u8]) {
    thread_local! {
        static DIR: TempDir = tempfile::tempdir().unwrap();
    }
    DIR.with(|dir| run_in(dir.path(), input));
}

fn run_in(dir: &Path, input: &[u8]) {
    let place = dir.to_str().unwrap();
    let texts: Vec<String> = Bytes(input)
        .pieces()
        .into_iter()
        .map(|piece| String::from_utf8_lossy(piece).replace("DIR/", &format!("{place}/")))
        .collect();
    // The test must not read files of the system; some of them never end.
    if texts
        .iter()
        .any(|text| ["/dev", "/proc", "/sys", "\\u"].iter().any(|name| text.contains(name)))
    {
        return;
    }
    let text = |index: usize| texts.get(index).map_or("", String::as_str);
    for (index, name) in FILES.iter().enumerate() {
        std::fs::write(dir.join(name), text(index)).unwrap();
    }
    let variables = texts.iter().skip(FILES.len()).filter_map(|text| text.split_once('='));
    let environment: Environment =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let args = ServeArgs { config: Some(dir.join(FILES[0])), ..ServeArgs::default() };

    let told = match Config::from_sources(&args, &environment) {
        Ok(config) => {
            assert!(!config.data_dir.as_os_str().is_empty());
            assert!(config.connections_max > 0 && !config.idle_timeout.is_zero());
            format!("{config:?}")
        }
        Err(error) => {
            let error = error.to_string();
            let places = ["file ", "environment ", "flag ", "default of "];
            assert!(places.iter().any(|place| error.starts_with(place)), "no place: {error}");
            error
        }
    };
    let public = [text(0)].into_iter().chain(texts.iter().skip(FILES.len()).map(String::as_str));
    if !public.into_iter().any(|text| text.contains(MARK)) {
        assert!(!told.contains(MARK), "a secret is told: {told}");
    }
}
