//! Whole requests, without a network.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use http::{Method, request::Builder};
use http_body_util::BodyExt;
use leasehold_core::{SecretBytes, SecretValue, Timestamp};
use serde_json::{Value, json};

use super::{
    testing::{Frozen, loan, loan_of, snapshot},
    *,
};
use crate::snapshot::{Standing, Trouble};

const ME: Peer = Peer::Process { user: 1000 };
const TOKEN: &str = "0123456789abcdef";

struct Scene {
    desk: Desk,
    _dir: tempfile::TempDir,
}

fn value(fields: &[(&str, &[u8])]) -> SecretValue {
    let each = |(name, bytes): &(&str, &[u8])| (name.parse().unwrap(), SecretBytes::new(bytes.to_vec()));
    SecretValue { fields: fields.iter().map(each).collect(), content_type: SecretValue::TEXT.into() }
}

fn scene() -> Scene {
    let pair = value(&[("password", b"canary-\"q\""), ("username", b"app")]);
    let pair = loan_of("prod/pair", pair, 200);
    let key = loan_of("prod/key", value(&[("value", &[0, 255])]), 200);
    let plain = |path, until| loan_of(path, SecretValue::plain("canary-7b1e".to_owned()), until);
    let over = plain("prod/over", 100);
    let mut ended = plain("prod/ended", 300);
    ended.standing = Standing::Expired;
    let mut snapshot =
        snapshot(&[("db", loan(200)), ("pair", pair), ("key", key), ("over", over), ("ended", ended)]);
    let trouble = Trouble { message: "the broker is away".into(), since: Timestamp::UNIX_EPOCH };
    snapshot.troubles.insert("later".parse().unwrap(), trouble);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ids = vec![("arn:aws:secretsmanager:x:1:secret:Db-a".to_owned(), "db".parse().unwrap())];
    let offered = ["db", "pair", "key", "over", "ended", "later"]
        .map(|name| (name.parse().unwrap(), format!("prod/{name}").parse().unwrap()));
    let twice = ["one", "two"].map(|name| (name.parse().unwrap(), "prod/twice".parse().unwrap()));
    let rules = Rules {
        offer: Offer::new(offered.into_iter().chain(twice)),
        allowed: BTreeSet::from([1000]),
        agent: Some(Agent { token: Token::new(path), ids }),
    };
    let desk = Desk {
        snapshots: watch::channel(Arc::new(snapshot)).1,
        rules: watch::channel(Arc::new(rules)).1,
        clock: Arc::new(Frozen(Timestamp::from_second(100).unwrap())),
        refused: Arc::default(),
    };
    Scene { desk, _dir: dir }
}

impl Scene {
    async fn ask(&self, peer: Peer, request: Builder) -> (u16, Vec<u8>) {
        let response = self.desk.answer(&peer, &request.body(()).unwrap());
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn get(&self, target: &str) -> (u16, Value) {
        let (status, body) = self.ask(ME, Request::builder().uri(target)).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// As a client of the agent.
    async fn agent(&self, target: &str) -> (u16, String) {
        let request = Request::builder().uri(target).header("X-Aws-Parameters-Secrets-Token", TOKEN);
        let (status, body) = self.ask(Peer::Anybody, request).await;
        (status, String::from_utf8(body).unwrap())
    }
}

#[tokio::test]
async fn a_secret_is_asked_for_by_name_or_path() {
    let scene = scene();
    for asked in ["pair", "prod/pair", "prod%2Fpair"] {
        let (status, body) = scene.get(&format!("/v1/secrets/{asked}")).await;
        let fields = json!({
            "password": { "encoding": "utf8", "value": "canary-\"q\"" },
            "username": { "encoding": "utf8", "value": "app" },
        });
        assert_eq!((status, &body["fields"]), (200, &fields));
        assert_eq!((&body["path"], &body["version"]), (&json!("prod/pair"), &json!("v1")));
        assert_eq!(
            (&body["standing"], &body["expires_at"]),
            (&json!("fresh"), &json!("1970-01-01T00:03:20Z"))
        );
    }
    let (_, key) = scene.get("/v1/secrets/key").await;
    assert_eq!(key["fields"]["value"], json!({ "encoding": "base64", "value": "AP8=" }));
    let raw = scene.ask(ME, Request::builder().uri("/v1/secrets/pair?field=password")).await;
    assert_eq!(raw, (200, b"canary-\"q\"".to_vec()));
}

#[tokio::test]
async fn the_list_has_no_values() {
    let scene = scene();
    for target in ["/v1/secrets", "/v1/secrets/"] {
        let (status, body) = scene.get(target).await;
        let listed: BTreeMap<_, _> = body["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (line["name"].as_str().unwrap(), line["standing"].as_str().unwrap()))
            .collect();
        assert_eq!((status, listed.len()), (200, 8));
        assert_eq!((listed["db"], listed["over"], listed["later"]), ("fresh", "expired", "missing"));
        assert!(!body.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn what_is_not_handed_out_is_a_problem_with_its_reason() {
    let scene = scene();
    for (target, status, reason, detail) in [
        ("/v1/secrets/nobody", 404, "NO_SUCH_SECRET", "no secret of this name or path"),
        ("/v1/secrets/prod/twice", 409, "AMBIGUOUS_PATH", "one, two"),
        ("/v1/secrets/later", 503, "NOT_LEASED", "the broker is away"),
        ("/v1/secrets/over", 503, "LEASE_ENDED", "ended at 1970-01-01T00:01:40Z"),
        ("/v1/secrets/ended", 503, "LEASE_ENDED", "no other could be had yet"),
        ("/v1/secrets/pair?field=x", 404, "NO_SUCH_FIELD", "password, username"),
        ("/v1/secrets/pair?fields=x", 400, "UNKNOWN_PARAMETER", "the parameters here are: field"),
        ("/v1/secrets?field=x", 400, "UNKNOWN_PARAMETER", "no parameters"),
        ("/v1/secrets/%zz", 400, "MALFORMED_TARGET", "hexadecimal"),
        ("/v1/secretsx", 404, "NO_SUCH_PATH", "/v1/secrets"),
        ("/", 404, "NO_SUCH_PATH", "/v1/secrets"),
    ] {
        let (found, body) = scene.get(target).await;
        assert_eq!(
            (found, &body["reason"], &body["status"]),
            (status, &json!(reason), &json!(status)),
            "{target}"
        );
        assert!(body["detail"].as_str().unwrap().contains(detail), "{target}: {body}");
        assert!(!body.to_string().contains("canary"), "{body}");
    }
}

#[tokio::test]
async fn only_users_who_are_listed_are_answered() {
    let scene = scene();
    for (user, expected) in [(1000, 200), (0, 403), (1001, 403)] {
        let request = Request::builder().uri("/v1/secrets/db");
        let (status, body) = scene.ask(Peer::Process { user }, request).await;
        assert_eq!(status, expected, "{user}");
        assert_eq!(String::from_utf8(body).unwrap().contains("canary"), expected == 200);
    }
    let (status, body) = scene.ask(Peer::Process { user: 7 }, Request::builder().uri("/v1/nothing")).await;
    assert_eq!(status, 403, "nobody learns what there is: {body:?}");
}

#[tokio::test]
async fn the_agents_clients_get_what_they_know() {
    let scene = scene();
    let (status, body) = scene.agent("/secretsmanager/get?secretId=prod%2Fpair").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let keys: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(Vec::from_iter(keys), ["ARN", "Name", "SecretString", "VersionId", "VersionStages"]);
    assert_eq!((status, &body["Name"], &body["VersionId"]), (200, &json!("prod/pair"), &json!("v1")));
    assert_eq!(body["VersionStages"], json!(["AWSCURRENT"]));
    let inner: Value = serde_json::from_str(body["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(inner, json!({ "password": "canary-\"q\"", "username": "app" }));

    let (_, by_arn) =
        scene.agent("/secretsmanager/get?secretId=arn:aws:secretsmanager:x:1:secret:Db-a").await;
    let by_arn: Value = serde_json::from_str(&by_arn).unwrap();
    assert_eq!((&by_arn["Name"], &by_arn["SecretString"]), (&json!("prod/db"), &json!("canary-7b1e")));
    let (_, binary) = scene.agent("/secretsmanager/get?secretId=key&refreshNow=True").await;
    let binary: Value = serde_json::from_str(&binary).unwrap();
    assert_eq!((&binary["SecretBinary"], binary.get("SecretString")), (&json!("AP8="), None));
    let (status, by_path) = scene.agent("/v1/prod/db?versionStage=AWSCURRENT&versionId=v1").await;
    assert!(status == 200 && by_path.contains("canary-7b1e"), "{by_path}");
    assert_eq!(scene.agent("/ping").await, (200, "healthy".to_owned()));
}

#[tokio::test]
async fn the_agents_refusals_are_the_agents() {
    let scene = scene();
    for (target, status, text) in [
        ("/secretsmanager/get", 400, "missing parameter secretId"),
        ("/secretsmanager/get?secretId=", 400, "missing parameter secretId"),
        ("/secretsmanager/get?secretId=db&abc=1", 400, "unknown parameter"),
        ("/secretsmanager/get?secretId=db&refreshNow=maybe", 400, "invalid refreshNow value"),
        ("/secretsmanager/get?secretId=nobody", 400, "ResourceNotFoundException"),
        ("/secretsmanager/get?secretId=db&versionStage=AWSPREVIOUS", 400, "ResourceNotFoundException"),
        ("/secretsmanager/get?secretId=db&versionId=v0", 400, "ResourceNotFoundException"),
        ("/secretsmanager/get?secretId=over", 503, "ServiceUnavailableException"),
        ("/v1/", 400, "missing secret ID"),
        // On loopback nobody's user is known, so our own paths are not there.
        ("/v1/secrets/db", 400, "ResourceNotFoundException"),
        ("/secrets", 404, "NO_SUCH_PATH"),
    ] {
        let (found, body) = scene.agent(target).await;
        assert_eq!(found, status, "{target}: {body}");
        assert!(body.contains(text) && !body.contains("canary"), "{target}: {body}");
    }
}

#[tokio::test]
async fn without_the_token_or_through_a_proxy_nobody_is_answered() {
    let scene = scene();
    let get = || Request::builder().uri("/secretsmanager/get?secretId=db");
    let header = "X-Aws-Parameters-Secrets-Token";
    for (request, expected) in [
        (get(), 403),
        (get().header(header, "0123456789abcdeg"), 403),
        (get().header(header, ""), 403),
        (get().header("X-Vault-Token", TOKEN), 200),
        (get().header(header, TOKEN).header("X-Forwarded-For", "192.0.2.1"), 400),
        (get().header(header, TOKEN).header("Forwarded", "for=192.0.2.1"), 400),
    ] {
        // On the Unix socket it is the same, whoever it is.
        let shown = request.headers_ref().cloned().unwrap();
        for peer in [Peer::Anybody, ME] {
            let mut again = get();
            again.headers_mut().unwrap().clone_from(&shown);
            let (status, body) = scene.ask(peer, again).await;
            assert_eq!(status, expected, "{peer:?} {shown:?}");
            assert_eq!(String::from_utf8(body).unwrap().contains("canary"), expected == 200);
        }
    }
}

#[test]
fn everything_is_only_read() {
    let scene = scene();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/v1/secrets/db").body("x").unwrap();
        let response = serve::respond(&scene.desk, &ME, request);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn who_has_said_all_there_is_to_say_is_still_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let dir = tempfile::tempdir().unwrap();
    let socket = Socket::bind(&dir.path().join("s"), 0o600, None).unwrap();
    // All of it is there, and its end as well, before anybody listens.
    let mut client = tokio::net::UnixStream::connect(socket.path()).await.unwrap();
    client.write_all(b"GET /v1/secrets/db HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut scene = scene();
    let offer = Offer::new([("db".parse().unwrap(), "prod/db".parse().unwrap())]);
    let rules = Rules { offer, allowed: BTreeSet::from([geteuid().as_raw()]), agent: None };
    scene.desk.rules = watch::channel(Arc::new(rules)).1;
    let limits = Limits { connections: 1, time: std::time::Duration::from_secs(10) };
    let mut answer = String::new();
    tokio::select! {
        never = on_unix(socket.listener(), limits, Arc::new(scene.desk)) => match never {},
        read = client.read_to_string(&mut answer) => assert!(read.is_ok()),
    }
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("canary-7b1e"), "{answer}");
}
