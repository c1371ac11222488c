//! Settings: their sources, which source wins, and which values are refused.

use chatshard::access::Role;
use chatshard::config::{Config, Docs, Environment, FsyncMode, HttpAuth, LogSwitch, ServeArgs};
use clap::Parser;

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
    let line = ["serve"].iter().chain(flags);
    let args = Serve::try_parse_from(line).map_err(|error| error.to_string())?.args;
    let pairs = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::from_sources(&args, &Environment::from_iter(pairs)).map_err(|error| error.to_string())
}

fn refusal(flags: &[&str], environment: &[(&str, &str)]) -> String {
    load(flags, environment).expect_err("must be refused")
}

struct File(tempfile::NamedTempFile);

impl File {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

#[test]
fn defaults_are_those_of_the_documents() {
    let config = load(&[], &[]).unwrap();
    assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("chatshard"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7700");
    assert_eq!(config.http.unwrap().to_string(), "127.0.0.1:7780");
    assert_eq!(config.admin.unwrap().to_string(), "127.0.0.1:7790");
    assert_eq!((config.fsync, config.log), (FsyncMode::Always, LogSwitch::On));
    assert_eq!(config.snapshot_interval.unwrap().as_secs(), 300);
    assert_eq!((config.snapshot_log_bytes, config.log_segment_bytes), (256 << 20, 64 << 20));
    assert!(!config.init && !config.demo && !config.allow_damage && config.pin);
    assert!(matches!(config.http_auth, HttpAuth::Header));
    assert!(!config.tokens.required());
    let limits = chatshard::command::hello::Limits::of_this_build();
    assert_eq!(config.idle_timeout.as_millis(), u128::from(limits.idle_ms));
    assert_eq!(config.connections_max, chatshard::limits::CONNECTIONS_MAX);
}

#[test]
fn the_flag_wins_then_the_environment_then_the_file() {
    let file =
        File::new("shards = 3\nfsync = \"never\"\nhttp = \"off\"\nlog = false\npin = false\n");
    let from_file = ["--config", file.path()];
    let config = load(&from_file, &[]).unwrap();
    assert_eq!((config.shards.get(), config.fsync), (3, FsyncMode::Never));
    assert_eq!((config.http, config.log, config.pin), (None, LogSwitch::Off, false));

    let environment = [("CHATSHARD_SHARDS", "4"), ("CHATSHARD_FSYNC", "")];
    let config = load(&from_file, &environment).unwrap();
    assert_eq!((config.shards.get(), config.fsync), (4, FsyncMode::Never));

    let flags = ["--config", file.path(), "--shards", "5", "--fsync=everysec", "--pin"];
    let config = load(&flags, &environment).unwrap();
    assert_eq!((config.shards.get(), config.fsync), (5, FsyncMode::EverySecond));
    assert!(config.pin);
}

#[test]
fn the_environment_can_name_the_file_and_a_flag_can_take_back() {
    let file = File::new("admin = \"127.0.0.1:0\"\n");
    let environment = [("CHATSHARD_CONFIG", file.path()), ("CHATSHARD_INIT", "1")];
    let config = load(&[], &environment).unwrap();
    assert!(config.init && config.admin.unwrap().to_string().ends_with(":0"));
    assert!(!load(&["--init=false"], &environment).unwrap().init);
    // Variables that an orchestrator sets unasked, and those of the client commands.
    load(&[], &[("CHATSHARD_SERVICE_HOST", "10.0.0.1"), ("CHATSHARD_TOKEN", "x")]).unwrap();
}

#[test]
fn sizes_have_units() {
    let memory =
        |size: &str| load(&[&format!("--memory-max={size}")], &[]).map(|config| config.memory_max);
    assert_eq!(load(&[], &[]).unwrap().memory_max, None);
    for (size, bytes) in [
        ("67108864", 64 << 20),
        ("64MiB", 64 << 20),
        ("3 GiB", 3 << 30),
        ("99999KiB", 99_999 << 10),
    ] {
        assert_eq!(memory(size), Ok(Some(bytes)), "{size}");
    }
    // Too small for a node, no size, or more than there is.
    for wrong in ["1MiB", "64MB", "-1", "1.5GiB", "MiB", "99999999999GiB"] {
        let error = memory(wrong).unwrap_err();
        assert!(error.starts_with("flag --memory-max: `") && error.contains("64MiB"), "{error}");
    }
    let config = load(&["--log-segment-bytes", "1MiB"], &[]).unwrap();
    assert_eq!(config.log_segment_bytes, 1 << 20);
}

#[test]
fn errors_name_the_place_and_the_setting() {
    let file = File::new("lisen = \"127.0.0.1:1\"\n");
    let error = refusal(&["--config", file.path()], &[]);
    assert!(error.contains("unknown key `lisen`") && error.contains(file.path()), "{error}");

    let file = File::new("shards = -1\n");
    let error = refusal(&["--config", file.path()], &[]);
    assert!(error.contains(file.path()) && error.contains("shards: `-1`"), "{error}");

    let file = File::new("shards = [1]\n");
    assert!(refusal(&["--config", file.path()], &[]).contains("shards: must be"));

    let error = refusal(&["--listen", "localhost:1"], &[]);
    assert!(error.starts_with("flag --listen: `localhost:1` is no address"), "{error}");
    let error = refusal(&[], &[("CHATSHARD_IDLE_TIMEOUT_S", "0")]);
    assert!(error.starts_with("environment CHATSHARD_IDLE_TIMEOUT_S: `0`"), "{error}");
    assert!(refusal(&[], &[("CHATSHARD_LOG_LEVEL", "a=b=c")]).contains("CHATSHARD_LOG_LEVEL"));
    assert!(refusal(&["--fsync", "sometimes"], &[]).contains("everysec"));
    assert!(refusal(&["--shards", "4097"], &[]).contains("4096"));
    assert!(refusal(&["--config", "/no/such/file.toml"], &[]).contains("/no/such/file.toml"));
    assert!(refusal(&["--log-segment-bytes", "1"], &[]).contains("--log-segment-bytes"));
}

#[test]
fn open_doors_are_refused() {
    let error = refusal(&["--listen", "0.0.0.0:7700"], &[]);
    assert!(error.starts_with("flag --listen:") && error.contains("token_file"), "{error}");
    assert!(refusal(&[], &[("CHATSHARD_ADMIN", "[::]:7790")]).contains("token_file"));
    // A mapped address is as open as the one that it maps.
    assert!(refusal(&["--listen", "[::ffff:10.0.0.1]:7700"], &[]).contains("token_file"));
    load(&["--listen", "[::ffff:127.0.0.1]:7700"], &[]).unwrap();

    let tokens = File::new("# ops\nopen-sesame\nread watchword\n");
    let flags = ["--listen=0.0.0.0:7700", "--admin=0.0.0.0:7790", "--token-file", tokens.path()];
    let config = load(&flags, &[]).unwrap();
    assert_eq!(config.tokens.accept(Some("open-sesame")), Some(Role::Full));
    assert_eq!(config.tokens.accept(Some("watchword")), Some(Role::Read));
    assert_eq!(config.tokens.accept(None), None);
    let shown = format!("{config:?}");
    assert!(!shown.contains("sesame") && !shown.contains("watchword"), "{shown}");

    let empty = File::new("# nothing\n");
    assert!(refusal(&["--token-file", empty.path()], &[]).contains("no token"));
    let wrong = File::new("open-sesame\nwrite watchword\n");
    let error = refusal(&["--token-file", wrong.path()], &[]);
    assert!(error.contains(&format!("{}: line 2: ", wrong.path())), "{error}");
    assert!(!error.contains("watchword") && !error.contains("sesame"), "{error}");
}

#[test]
fn the_http_door_needs_a_gateway_or_signed_tokens() {
    let open = "--http=0.0.0.0:7780";
    let error = refusal(&[open], &[]);
    assert!(error.contains("trust_gateway") && error.contains("jwt"), "{error}");
    load(&[open, "--trust-gateway"], &[]).unwrap();

    let jwt = "--http-auth=jwt";
    assert!(refusal(&[jwt], &[]).contains("jwt_secret_file"));
    let short = File::new("too short\n");
    assert!(refusal(&[jwt, "--jwt-secret-file", short.path()], &[]).contains("32 bytes"));
    let secret = File::new("0123456789abcdef0123456789abcdef\n");
    let config = load(&[open, jwt, "--jwt-secret-file", secret.path()], &[]).unwrap();
    assert!(matches!(config.http_auth, HttpAuth::Jwt(_)));
    assert!(!format!("{config:?}").contains("0123456789"));

    // Not both, and nothing that would be of no use.
    let error =
        refusal(&[jwt, "--jwt-secret-file", secret.path(), "--jwt-jwks-file", secret.path()], &[]);
    assert!(error.starts_with("flag --jwt-jwks-file: beside jwt_secret_file"), "{error}");
    let error = refusal(&[jwt, "--jwt-jwks-file", secret.path()], &[]);
    assert!(error.contains(secret.path()) && !error.contains("0123456789"), "{error}");
    let error = refusal(&[], &[("CHATSHARD_JWT_AUDIENCE", "im")]);
    assert!(error.starts_with("environment CHATSHARD_JWT_AUDIENCE: is of no use"), "{error}");
    let flags = [jwt, "--jwt-secret-file", secret.path(), "--jwt-issuer", "a,,b"];
    assert!(refusal(&flags, &[]).contains("empty name"));
}

#[test]
fn the_api_is_described_at_the_app_s_door_unless_tokens_are_asked_for_there() {
    let secret = File::new("0123456789abcdef0123456789abcdef\n");
    let jwt = ["--http-auth=jwt", "--jwt-secret-file", secret.path()];
    let file = File::new("docs = \"admin\"");
    let docs =
        |flags: &[&str], environment: &[(&str, &str)]| load(flags, environment).unwrap().docs;
    assert_eq!(docs(&[], &[]), Docs::App);
    assert_eq!(docs(&jwt, &[]), Docs::Off);
    assert_eq!(docs(&[&jwt[..], &["--docs=app"]].concat(), &[]), Docs::App);
    assert_eq!(docs(&["--config", file.path()], &[]), Docs::Admin);
    assert_eq!(docs(&[], &[("CHATSHARD_DOCS", "off")]), Docs::Off);
    assert_eq!(docs(&["--http=off"], &[]), Docs::App, "nobody asked for it");
    for (word, door) in [("app", "http"), ("admin", "admin")] {
        let flags = [format!("--docs={word}"), format!("--{door}=off")];
        let error = refusal(&[&flags[0], &flags[1]], &[]);
        assert_eq!(error, format!("flag --docs: {word} needs a door, and {door} is off"));
    }
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let file = |text: &str| File::new(text);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (file(&made.cert.pem()), file(&made.signing_key.serialize_pem()));
    let other = file(&other.signing_key.serialize_pem());
    let [cert_flag, key_flag] = ["--tls-cert", "--tls-key"];
    let config = load(&[cert_flag, certificate.path(), key_flag, key.path()], &[]).unwrap();
    assert!(config.tls.is_some() && !format!("{config:?}").contains("PRIVATE"));
    assert!(load(&[], &[]).unwrap().tls.is_none());

    for (cert, key, says) in [
        (certificate.path(), "", "flag --tls-cert: needs tls_key"),
        ("", key.path(), "flag --tls-key: needs tls_cert"),
        (key.path(), key.path(), "flag --tls-cert: "),
        (certificate.path(), certificate.path(), "flag --tls-key: "),
        (certificate.path(), other.path(), "flag --tls-key: "),
        (certificate.path(), "/no/such", "flag --tls-key: /no/such: "),
    ] {
        let error = refusal(&[cert_flag, cert, key_flag, key], &[]);
        assert!(error.starts_with(says), "{error}");
    }
    let flags = ["--demo", cert_flag, certificate.path(), key_flag, key.path()];
    assert!(refusal(&flags, &[]).contains("the demo's doors are plain"));
}

#[test]
fn doors_may_be_unix_sockets() {
    let flags = ["--listen=unix:/run/a", "--admin=unix:/run/b", "--socket-mode=0660"];
    let config = load(&flags, &[]).unwrap();
    assert_eq!((config.listen.to_string().as_str(), config.socket_mode), ("unix:/run/a", 0o660));
    assert_eq!(load(&[], &[]).unwrap().socket_mode, 0o600);
    let error = refusal(&["--listen=unix:/run/a", "--http=unix:/run/a"], &[]);
    assert!(error.contains("listen has the same address"), "{error}");
    assert!(refusal(&["--socket-mode=888"], &[]).starts_with("flag --socket-mode: "));
}

#[test]
fn origins_are_as_browsers_write_them() {
    let origins = "https://app.example, http://localhost:5173,http://[::1]:8080";
    let config = load(&["--cors-origins", origins], &[]).unwrap();
    assert_eq!(config.cors_origins.len(), 3);
    assert!(load(&[], &[]).unwrap().cors_origins.is_empty());
    for wrong in [
        "*",
        "null",
        "app.example",
        "https://app.example/",
        "https://app.example/chat",
        "https://App.example",
        "https://app.example:443",
        "https://me@app.example",
        "https://a.example,,https://b.example",
        "https://",
    ] {
        let error = refusal(&["--cors-origins", wrong], &[]);
        assert!(error.starts_with("flag --cors-origins: "), "{error}");
    }
}

#[test]
fn contradictions_are_refused() {
    let error = refusal(&["--http", "127.0.0.1:7700"], &[]);
    assert!(error.contains("listen has the same address"), "{error}");
    load(&["--http=127.0.0.1:0", "--admin=127.0.0.1:0"], &[]).unwrap();
    assert!(refusal(&["--demo", "--data-dir", "/tmp/x"], &[]).contains("throw-away"));
    assert!(load(&["--demo"], &[("CHATSHARD_DATA_DIR", "/data")]).unwrap().demo);
}
