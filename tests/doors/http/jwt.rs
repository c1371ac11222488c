//! Users' tokens by a JWK set: each algorithm with its own key, and attempts to confuse them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};

use chatshard::access::{JwtFile, JwtRules, JwtVerifier};

use super::*;

/// An issuer of tokens: a key, and its JWK.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

impl Signer {
    fn new(algorithm: Algorithm, kid: &str) -> Self {
        let (key, mut jwk) = match algorithm {
            Algorithm::RS256 => {
                let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
                // The key in PKCS#1 form comes behind the header of PKCS#8.
                let key = EncodingKey::from_rsa_der(&pair.serialized_der()[26..]);
                let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm).unwrap();
                (key, serde_json::to_value(jwk).unwrap())
            }
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                let (x, y) = pair.public_key_raw()[1..].split_at(32);
                let jwk =
                    json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)});
                (EncodingKey::from_ec_der(pair.serialized_der()), jwk)
            }
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
                let x = base64url(pair.public_key_raw());
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
                (EncodingKey::from_ed_der(pair.serialized_der()), jwk)
            }
            Algorithm::HS256 => {
                let secret: [u8; 32] = std::array::from_fn(|_| kid.len() as u8);
                let jwk = json!({"kty": "oct", "k": base64url(&secret)});
                (EncodingKey::from_secret(&secret), jwk)
            }
            other => unreachable!("{other:?}"),
        };
        jwk["kid"] = json!(kid);
        Self { algorithm, key, jwk }
    }

    fn kid(&self) -> String {
        self.jwk["kid"].as_str().unwrap().to_owned()
    }

    fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }
}

const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::RS256, "rsa"),
    (Algorithm::ES256, "elliptic"),
    (Algorithm::EdDSA, "edwards"),
    (Algorithm::HS256, "secret"),
];

fn signers() -> Vec<Signer> {
    ALGORITHMS.map(|(algorithm, kid)| Signer::new(algorithm, kid)).into()
}

struct SetFile {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl SetFile {
    fn new(keys: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = Self { path: directory.path().join("jwks.json"), _directory: directory };
        file.write(&json!({ "keys": keys }).to_string());
        file
    }

    fn of(signers: &[Signer]) -> Self {
        Self::new(&signers.iter().map(|signer| signer.jwk.clone()).collect())
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    fn load(&self, rules: JwtRules) -> Result<Arc<JwtVerifier>, String> {
        JwtVerifier::load(JwtFile::Jwks(self.path.clone()), rules)
    }

    fn router(&self, store: &Fake, rules: JwtRules) -> Router {
        app_with(store, UserAuth::Jwt(self.load(rules).unwrap()))
    }
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": now() + 60})
}

async fn ask_with(router: &Router, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    post(router, "/chat/mine-list", &[("authorization", &bearer)], "").await
}

async fn refused(router: &Router, token: &str, why: &str) -> String {
    let answer = ask_with(router, token).await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.body);
    let message = answer.failure(401);
    assert!(!message.contains(token), "{why}: {message}");
    message
}

#[tokio::test]
async fn each_algorithm_is_taken_with_its_own_key() {
    let store = Fake::examples();
    let signers = signers();
    let router = SetFile::of(&signers).router(&store, JwtRules::default());
    for signer in &signers {
        assert_eq!(ask_with(&router, &signer.token(&claims())).await.status, 200);
        let expired = signer.token(&json!({"sub": "alice", "exp": now() - 60}));
        assert!(refused(&router, &expired, "expired").await.contains("expired"));
        // Alone in its set a key may go without a name.
        let mut unnamed = signer.jwk.clone();
        unnamed.as_object_mut().unwrap().remove("kid");
        for key in [unnamed, signer.jwk.clone()] {
            let router = SetFile::new(&json!([key])).router(&store, JwtRules::default());
            let nameless = encode(&Header::new(signer.algorithm), &claims(), &signer.key).unwrap();
            assert_eq!(ask_with(&router, &nameless).await.status, 200);
            assert_eq!(ask_with(&router, &signer.token(&claims())).await.status, 200);
        }
    }
    for asked in store.asked() {
        assert!(matches!(asked, Command::List(list) if list.user_id == user("alice")));
    }
}

#[tokio::test]
async fn keys_and_algorithms_are_not_confused() {
    let store = Fake::examples();
    let signers = signers();
    let router = SetFile::of(&signers).router(&store, JwtRules::default());
    for one in &signers {
        for other in &signers {
            // Signed by one, and said to be by another.
            let header = Header { kid: Some(other.kid()), ..Header::new(one.algorithm) };
            let token = encode(&header, &claims(), &one.key).unwrap();
            if one.kid() != other.kid() {
                let message = refused(&router, &token, "kid of another type").await;
                assert!(message.contains(&format!("{:?}", other.algorithm)), "{message}");
            }
        }
        // Everything public about a key, as the secret of HS256.
        let modulus = one.jwk["n"].as_str().or(one.jwk["x"].as_str()).unwrap_or("none");
        let texts = [modulus.to_owned(), one.jwk.to_string(), modulus.repeat(2)];
        for text in texts {
            let header = Header { kid: Some(one.kid()), ..Header::new(Algorithm::HS256) };
            let key = EncodingKey::from_secret(text.as_bytes());
            refused(&router, &encode(&header, &claims(), &key).unwrap(), "public key").await;
        }
        // No signature at all, in every spelling.
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = part(&json!({"alg": alg, "kid": one.kid()}));
            refused(&router, &format!("{header}.{}.", part(&claims())), "none").await;
        }
        let good = one.token(&claims());
        let (start, _) = good.rsplit_once('.').unwrap();
        refused(&router, &format!("{start}."), "signature taken off").await;
        // A stranger's key of the same name, and one that the token brings along.
        let stranger = Signer::new(one.algorithm, "a stranger's, of another length");
        let header = Header { kid: Some(one.kid()), ..Header::new(one.algorithm) };
        refused(&router, &encode(&header, &claims(), &stranger.key).unwrap(), "forged").await;
        let own = serde_json::from_value(stranger.jwk.clone()).unwrap();
        let header = Header { jwk: Some(own), jku: Some("https://evil.example".into()), ..header };
        refused(&router, &encode(&header, &claims(), &stranger.key).unwrap(), "own key").await;
        let message = refused(&router, &stranger.token(&claims()), "unknown kid").await;
        assert!(message.contains("not known"), "{message}");
        let nameless = encode(&Header::new(one.algorithm), &claims(), &one.key).unwrap();
        assert!(refused(&router, &nameless, "no kid").await.contains("kid"));
    }
    // Another algorithm of the same family, rightly signed.
    for (signer, algorithm) in [(0, Algorithm::RS512), (0, Algorithm::PS256), (3, Algorithm::HS512)]
    {
        let signer = &signers[signer];
        let header = Header { kid: Some(signer.kid()), ..Header::new(algorithm) };
        let token = encode(&header, &claims(), &signer.key).unwrap();
        assert!(refused(&router, &token, "same family").await.contains("must be signed with"));
    }
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn audience_and_issuer_are_looked_at_where_they_are_set() {
    let store = Fake::examples();
    let signer = Signer::new(Algorithm::ES256, "k");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rules =
        JwtRules { audience: names(&["im", "im-beta"]), issuer: names(&["https://login.example"]) };
    let file = SetFile::of(std::slice::from_ref(&signer));
    let router = file.router(&store, rules);
    let with = |name: &str, value: Value| {
        let mut all = claims();
        (all["aud"], all["iss"]) = (json!("im"), json!("https://login.example"));
        all[name] = value;
        signer.token(&all)
    };
    for good in [with("aud", json!("im-beta")), with("aud", json!(["shop", "im"]))] {
        assert_eq!(ask_with(&router, &good).await.status, 200);
    }
    for (name, value) in [
        ("aud", json!("shop")),
        ("aud", json!(["shop"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("aud", json!(7)),
        ("iss", json!("https://evil.example")),
        ("iss", json!("https://login.example/")),
        ("iss", json!(null)),
    ] {
        let message = refused(&router, &with(name, value.clone()), name).await;
        assert!(message.contains(name) || message.contains("malformed"), "{value}: {message}");
    }
    refused(&router, &signer.token(&claims()), "neither").await;
    // Where they are not set they are not looked at.
    let router = file.router(&store, JwtRules::default());
    assert_eq!(ask_with(&router, &with("aud", json!("shop"))).await.status, 200);
}

#[test]
fn a_wrong_set_is_refused_and_its_keys_are_not_shown() {
    let rsa = Signer::new(Algorithm::RS256, "one").jwk;
    let secret = Signer::new(Algorithm::HS256, "two").jwk;
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let short = with(&secret, "k", json!(base64url(&[7; 31])));
    let cases = [
        (json!([]), "holds no key"),
        (json!([rsa, rsa]), "keys[1]: the kid of another"),
        (json!([rsa, with(&secret, "kid", Value::Null)]), "several keys, and one without a kid"),
        (json!([with(&rsa, "d", json!("private"))]), "keys[0]: is a private key"),
        (json!([short]), "keys[0]: the secret must have 32 bytes or more, it has 31"),
        (json!([with(&rsa, "n", json!(base64url(&[255; 128])))]), "2048 bits"),
        (json!([with(&rsa, "n", json!("no base64!"))]), "keys[0]: a part of it is no base64url"),
        (json!([{"kty": "RSA", "kid": "one"}]), "keys[0]: lacks a part"),
        (json!([{"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": "AAAA"}]), "no key of Ed25519"),
        (json!([{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]), "no point of P-256"),
        // For something else: nothing is left.
        (json!([with(&rsa, "use", json!("enc"))]), "holds no key"),
        (json!([with(&rsa, "alg", json!("RSA-OAEP"))]), "holds no key"),
        (json!([with(&rsa, "alg", json!("PS256"))]), "holds no key"),
        (json!([with(&rsa, "key_ops", json!(["encrypt"]))]), "holds no key"),
        (
            json!([{"kty": "new", "kid": "x"}, {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}]),
            "holds no key",
        ),
    ];
    for (keys, says) in cases {
        let file = SetFile::new(&keys);
        let error = file.load(JwtRules::default()).unwrap_err();
        assert!(error.contains(says) && error.contains("jwks.json"), "{keys}: {error}");
        for key in [&rsa["n"], &secret["k"]] {
            assert!(!error.contains(key.as_str().unwrap()), "{error}");
        }
    }
    let file = SetFile::new(&json!([]));
    for text in ["", "{", "[]", "{\"keys\": 7}", "-----BEGIN PUBLIC KEY-----"] {
        file.write(text);
        assert!(file.load(JwtRules::default()).is_err(), "{text}");
    }
    // A key for another use does not make the others useless.
    let file = SetFile::new(&json!([with(&rsa, "use", json!("enc")), {"kty": "new"}, secret]));
    let verifier = file.load(JwtRules::default()).unwrap();
    assert_eq!(verifier.reload(), Ok(1));
    assert!(!format!("{verifier:?}").contains(secret["k"].as_str().unwrap()));
    assert!(!Path::new("/no/such/set").exists());
}

#[tokio::test]
async fn a_set_with_a_weak_or_broken_key_is_refused_whole_and_the_old_one_stays() {
    let store = Fake::examples();
    let signers = signers();
    let good: Vec<Value> = signers.iter().map(|signer| signer.jwk.clone()).collect();
    let [rsa, ec, ed, secret] = ["RSA", "EC", "OKP", "oct"]
        .map(|kty| good.iter().find(|key| key["kty"] == *kty).unwrap().clone());
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        (key[name], key["kid"]) = (value, json!("another"));
        key
    };
    let short: Vec<u8> = std::iter::once(0x7f).chain([0xff; 255]).collect();
    let even: Vec<u8> = [0xff; 255].into_iter().chain([0xfe]).collect();
    let mut off = [0; 32];
    off[0] = 2;
    let weak = [
        (with(&rsa, "e", json!(base64url(&[1]))), "exponent"),
        (with(&rsa, "e", json!(base64url(&[0, 0, 1]))), "exponent"),
        (with(&rsa, "e", json!(base64url(&[1, 0, 0]))), "exponent"),
        (with(&rsa, "n", json!(base64url(&short))), "2048 bits or more, it has 2047"),
        (with(&rsa, "n", json!(base64url(&even))), "no public key of RSA"),
        (with(&ec, "y", ec["x"].clone()), "no point of P-256"),
        (with(&ed, "x", json!(base64url(&off))), "no key of Ed25519"),
        (with(&ed, "x", json!(base64url(&[0; 32]))), "small order"),
        (with(&secret, "k", json!(base64url(&[7; 31]))), "32 bytes or more"),
        (rsa.clone(), "the kid of another"),
    ];
    let file = SetFile::new(&json!(good));
    let verifier = file.load(JwtRules::default()).unwrap();
    let router = app_with(&store, UserAuth::Jwt(Arc::clone(&verifier)));
    for (key, says) in weak {
        let mut keys = good.clone();
        keys.push(key);
        file.write(&json!({"keys": keys}).to_string());
        let error = verifier.reload().unwrap_err();
        assert!(error.contains(says) && error.contains("keys[4]"), "{says}: {error}");
        for signer in &signers {
            assert_eq!(ask_with(&router, &signer.token(&claims())).await.status, 200, "{says}");
        }
    }
}

#[tokio::test]
async fn keys_are_replaced_and_a_bad_file_changes_nothing() {
    let store = Fake::examples();
    let [old, new] = [Signer::new(Algorithm::ES256, "old"), Signer::new(Algorithm::EdDSA, "new")];
    let file = SetFile::new(&json!([old.jwk]));
    let verifier = file.load(JwtRules::default()).unwrap();
    let router = app_with(&store, UserAuth::Jwt(Arc::clone(&verifier)));
    file.write(r#"{"keys": [{"kty": "EC"}]}"#);
    assert!(verifier.reload().is_err());
    assert_eq!(ask_with(&router, &old.token(&claims())).await.status, 200);
    file.write(&json!({"keys": [old.jwk, new.jwk]}).to_string());
    assert_eq!(verifier.reload(), Ok(2));
    for signer in [&old, &new] {
        assert_eq!(ask_with(&router, &signer.token(&claims())).await.status, 200);
    }
    file.write(&json!({"keys": [new.jwk]}).to_string());
    assert_eq!(verifier.reload(), Ok(1));
    refused(&router, &old.token(&claims()), "taken out").await;
    assert_eq!(ask_with(&router, &new.token(&claims())).await.status, 200);
}
