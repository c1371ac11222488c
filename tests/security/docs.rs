//! Which door describes the API, and to which clients.

use crate::common::HttpConnection;
use crate::common::served::{Files, Served};

#[test]
fn the_api_is_described_where_the_setting_says_and_nowhere_else() {
    let files = Files::new();
    let secret = files.write("secret", "0123456789abcdef0123456789abcdef");
    let jwt = ["--http-auth=jwt", "--jwt-secret-file", &secret];
    let header: [&str; 0] = [];
    // How users are authenticated, the setting, and whether the HTTP door and the admin listener
    // describe the API.
    let cases: [(&[&str], &str, [bool; 2]); 6] = [
        (&header, "--docs=auto", [true, false]),
        (&jwt, "--docs=auto", [false, false]),
        (&jwt, "--docs=app", [true, false]),
        (&jwt, "--docs=admin", [false, true]),
        (&header, "--docs=admin", [false, true]),
        (&header, "--docs=off", [false, false]),
    ];
    for (auth, docs, told) in cases {
        let files = Files::new();
        let server = Served::start(&files, &[auth, &[docs]].concat());
        for (door, told) in [&server.http, &server.admin].into_iter().zip(told) {
            let mut door = HttpConnection::open(door.parse().unwrap());
            for path in ["/docs", "/docs/docs.js", "/openapi.json"] {
                let (status, body) = door.get(path);
                assert_eq!(status, if told { 200 } else { 404 }, "{auth:?} {docs} {path}");
                assert!(told || body.starts_with(r#"{"code":404,"data":null"#), "{body}");
            }
        }
        server.stop();
    }
}
