//! The local endpoint: who is answered, what they get while secrets are rotated, and what is turned away.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use leasehold_provider_conformance::peers::{self, or_skip};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::Site,
    wait::until,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::kit::{Sidecar, folder, site};

const FIRST: &str = "canary-of-the-endpoint-51a7";
const SECOND: &str = "canary-of-the-endpoint-92c0";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SECRETS: &str = "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n";

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request as it is written here, and reads until the other end is done. `None` when nobody is there.
pub(crate) fn send(socket: &Path, request: &[u8]) -> Option<Answer> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // It may be turned away before it is whole.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: answer[end + 4..].to_vec() })
}

pub(crate) fn get(socket: &Path, target: &str) -> Option<Answer> {
    send(socket, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

/// The secret's value as the endpoint tells it.
fn value(socket: &Path) -> Option<String> {
    let answer = get(socket, "/v1/secrets/db").filter(|answer| answer.status == 200)?;
    Some(answer.json()["fields"]["value"]["value"].as_str().unwrap().to_owned())
}

/// A broker with the secret, and a sidecar that answers; its log never has a value in it.
async fn scene(endpoint: &str) -> (Site, Daemon, Sidecar) {
    let site = site(&["db"], "10m");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    folder(&site, "run");
    let sidecar = Sidecar::start(&site, &format!("{SECRETS}[endpoint]\n{endpoint}"));
    (site, daemon, sidecar)
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_what_is_current_and_what_is_too_much_is_turned_away() {
    let (site, daemon, mut sidecar) =
        scene("socket = \"run/sidecar.sock\"\nconnections = 4\ntime_limit = \"1s\"\n").await;
    let socket = site.path("run/sidecar.sock");
    until("it answers", async || value(&socket).as_deref() == Some(FIRST)).await;
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = get(&socket, "/v1/secrets/prod/payments/db?field=value").unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, FIRST.as_bytes()));
    assert!(answer.head.to_ascii_lowercase().contains("cache-control: no-store"), "{}", answer.head);

    // Another value is current, and is told without anybody asking the broker again.
    daemon::put(&site, "prod/payments/db", SECOND).await;
    until("the new value is answered", async || value(&socket).as_deref() == Some(SECOND)).await;

    // Whoever says nothing, or speaks for ever, keeps a seat for a second and no longer.
    let idle: Vec<_> = (0..4).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let began = Instant::now();
    assert_eq!(value(&socket).as_deref(), Some(SECOND));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(idle);
    let long = format!("GET /v1/secrets/db HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /v1/secrets/db HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: y\r\n".repeat(100));
    let path = format!("GET /v1/secrets/{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000));
    for request in [
        long,
        many,
        path,
        "\0\0\0\0".to_owned(),
        "POST /v1/secrets/db HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let answer = send(&socket, request.as_bytes());
        let turned_away = answer.as_ref().is_none_or(|answer| (400..500).contains(&answer.status));
        assert!(turned_away, "{answer:?}");
    }
    assert_eq!(value(&socket).as_deref(), Some(SECOND));

    assert!(sidecar.stop().await.success());
    assert!(!socket.exists(), "its socket went with it");
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_answered_only_when_listed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can ask as another user");
        return;
    }
    // In a folder that others can look into, so that the socket alone keeps them out.
    let run = tempfile::tempdir().unwrap();
    fs::set_permissions(run.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = run.path().join("sidecar.sock");
    let endpoint = format!("socket = {socket:?}\ngroup = \"65533\"\nallow = [\"65531\"]\n");
    let (_site, _daemon, sidecar) = scene(&endpoint).await;
    until("it answers", async || value(&socket).is_some()).await;
    let ask = |user: &str, group: &str| -> Output {
        Command::new("setpriv")
            .args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"])
            .args(["curl", "--silent", "--show-error", "--include", "--unix-socket"])
            .arg(&socket)
            .arg("http://localhost/v1/secrets/db")
            .output()
            .unwrap()
    };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let listed = ask("65531", "65533");
    assert!(text(&listed).contains(FIRST), "{listed:?}");
    let not_listed = ask("65532", "65533");
    assert!(text(&not_listed).contains("403 Forbidden"), "{not_listed:?}");
    assert!(
        text(&not_listed).contains("USER_NOT_ALLOWED") && !text(&not_listed).contains(FIRST),
        "{not_listed:?}"
    );
    // Who is listed and not in the group does not get as far as that.
    let outside = ask("65531", "65530");
    assert!(!outside.status.success() && outside.stdout.is_empty(), "{outside:?}");
    drop(sidecar);
}

/// How AWS's guide asks its agent from Python, with `requests` as it is on PyPI
/// (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/secrets-manager-agent.html>).
const CLIENT: &str = r#"
import json, sys, requests

def get_secret(secret_id):
    url = f"http://localhost:{sys.argv[1]}/secretsmanager/get?secretId={secret_id}"
    with open(sys.argv[2]) as fp:
        token = fp.read()
    headers = {"X-Aws-Parameters-Secrets-Token": token.strip()}
    response = requests.get(url, headers=headers)
    if response.status_code == 200:
        return response.text
    raise Exception(f"Status code {response.status_code} - {response.text}")

for secret_id in sys.argv[3:]:
    secret = json.loads(get_secret(secret_id))
    print(secret["ARN"], secret["Name"], secret["VersionStages"][0], secret["SecretString"])

url = f"http://localhost:{sys.argv[1]}/secretsmanager/get?secretId=db"
for headers in ({}, {"X-Aws-Parameters-Secrets-Token": "0" * 32},
                {"X-Aws-Parameters-Secrets-Token": open(sys.argv[2]).read().strip(), "X-Forwarded-For": "192.0.2.1"}):
    print(requests.get(url, headers=headers).status_code)
print(requests.post(url).status_code, requests.get(f"http://localhost:{sys.argv[1]}/ping").text)
"#;

/// The interpreter that the peers were installed with.
fn python() -> Option<PathBuf> {
    Some(or_skip(peers::find("moto_server")).unwrap()?.with_file_name("python3"))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_aws_agent_work_as_they_are() {
    let Some(python) = python() else { return };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Payments/Db-a1b2c3";
    let site = site(&["db"], "10m");
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    fs::DirBuilder::new().mode(0o700).create(site.path("run")).unwrap();
    site.write("token", &format!("{TOKEN}\n"));
    let sidecar = Sidecar::start(
        &site,
        &format!(
            "{SECRETS}[endpoint]\nsocket = \"run/s.sock\"\n[endpoint.aws]\nlisten = \"{free}\"\ntoken_file = \"token\"\n\
             [endpoint.aws.ids]\n\"{arn}\" = \"db\"\n"
        ),
    );
    until("it is leased", async || value(&site.path("run/s.sock")).is_some()).await;
    let asked = Command::new(python)
        .args(["-c", CLIENT, &free.port().to_string()])
        .arg(site.path("token"))
        .args(["db", "prod/payments/db", arn])
        // It goes to this machine, whatever the environment says of proxies.
        .env("NO_PROXY", "localhost")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&asked.stdout);
    let expected = [
        format!("arn:leasehold:secretsmanager:::secret:prod/payments/db db AWSCURRENT {FIRST}"),
        format!("arn:leasehold:secretsmanager:::secret:prod/payments/db prod/payments/db AWSCURRENT {FIRST}"),
        format!("{arn} prod/payments/db AWSCURRENT {FIRST}"),
        "403".to_owned(),
        "403".to_owned(),
        "400".to_owned(),
        "405 healthy".to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{}", String::from_utf8_lossy(&asked.stderr));
    assert!(!sidecar.log().contains(TOKEN) && !sidecar.log().contains("canary"), "{}", sidecar.log());
}
