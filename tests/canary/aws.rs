//! Through AWS Secrets Manager, or what stands in for it; with the broker's own AWS credentials as canaries, too.

use leasehold_proto::v1::{IssueLeaseRequest, SecretValue, WriteSecretRequest};
use leasehold_provider_conformance::{
    peers::{Moto, or_skip},
    scripted::{Answer, Reply, ScriptedServer},
};
use leasehold_tests::{
    canary::Canary,
    site::{OPERATOR, SECRET, WORKLOAD},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::scene::Scene;

/// A secret whose value AWS keeps as JSON.
const FIELDS: &str = "prod/payments/fields";

/// A scene whose secrets are in the AWS at `url`, asked for every lease, with these credentials.
fn scene(url: &str, key: &Canary, token: &Canary) -> Scene {
    let desk = tempfile::tempdir().unwrap();
    let secret = |path, name| {
        format!(
            "[[secret]]\npath = \"{path}\"\nprovider = \"aws\"\nref = \"{name}\"\nmax_age = \"0s\"\nmax_stale = \"0s\"\n"
        )
    };
    let file = |name, text| {
        let path = desk.path().join(name);
        leasehold_tests::site::write_private(&path, text);
        path.display().to_string()
    };
    let provider = format!(
        "[[provider]]\nname = \"aws\"\nkind = \"aws\"\nregion = \"eu-central-1\"\nendpoint_url = \"{url}\"\n\
         writable = true\nmax_attempts = 2\ntimeout = \"5s\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\n\
         secret_access_key_file = \"{}\"\nsession_token_file = \"{}\"\n",
        file("key", key.value()),
        file("token", token.value()),
    );
    let more = provider + &secret(SECRET, "db") + &secret(FIELDS, "fields");
    Scene::new(more).with_desk(desk)
}

fn issue(secret: &str) -> IssueLeaseRequest {
    IssueLeaseRequest { secret: secret.into(), ..Default::default() }
}

fn write(value: &Canary, expected: &str) -> WriteSecretRequest {
    WriteSecretRequest {
        path: SECRET.into(),
        value: Some(SecretValue {
            fields: [("value".to_owned(), value.value().as_bytes().to_vec())].into(),
            content_type: "text/plain".into(),
        }),
        expected_version: expected.into(),
        ..Default::default()
    }
}

/// Makes a secret behind the broker's back.
async fn create(moto: &Moto, name: &str, text: &str) {
    let body = serde_json::json!({ "Name": name, "SecretString": text }).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: secretsmanager.eu-central-1.amazonaws.com\r\nConnection: close\r\n\
         X-Amz-Target: secretsmanager.CreateSecret\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/eu-central-1/secretsmanager/aws4_request, \
         SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut tcp = TcpStream::connect(moto.url().trim_start_matches("http://")).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_canary_leaves_no_trace() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let [text, field, written, refused, key, token] =
        ["a text", "a field", "written", "refused", "the AWS key", "the AWS session token"].map(Canary::new);
    create(&moto, "db", text.value()).await;
    create(&moto, "fields", &serde_json::json!({ "user": "ann", "password": field.value() }).to_string())
        .await;
    let mut scene = scene(moto.url(), &key, &token);
    let daemon = scene.start().await;

    for (secret, name, canary) in [(SECRET, "value", &text), (FIELDS, "password", &field)] {
        let (code, out) = scene.run("workload", &["lease", "get", secret, "--field", name], &[]);
        assert_eq!((code, out.as_str()), (0, canary.value()));
        assert_eq!(scene.leasehold("workload", &format!("lease get {secret}")).0, 0);
    }
    let operator = scene.connect(OPERATOR).await;
    operator.operators().write_secret(write(&written, "")).await.unwrap();
    let workload = scene.connect(WORKLOAD).await;
    let value = workload.leases().issue_lease(issue(SECRET)).await.unwrap().into_inner().value.unwrap();
    assert_eq!(value.fields["value"], written.value().as_bytes());
    let other = "00000000-0000-4000-8000-000000000000";
    let answer = operator.operators().write_secret(write(&refused, other)).await;
    scene.refused("a write over another version", answer);
    scene.look_at(daemon.id());

    drop(moto);
    scene.refused("a read of nothing", workload.leases().issue_lease(issue(SECRET)).await);
    scene.refused("a write to nothing", operator.operators().write_secret(write(&refused, "")).await);
    scene.leasehold("operator", "audit query -o json");
    assert!(daemon.stop().await.success());
    scene.search(&[&text, &field, &written, &refused, &key, &token]);
}

#[tokio::test]
async fn a_canary_in_a_broken_answer_leaves_no_trace() {
    let [canary, written, key, token] =
        ["answered", "written", "the AWS key", "the AWS session token"].map(Canary::new);
    let text = serde_json::to_string(canary.value()).unwrap();
    let whole = format!(
        "{{\"ARN\":\"arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf\",\"Name\":\"db\",\
         \"VersionId\":\"11111111-2222-4333-8444-555555555555\",\"SecretString\":{text},\"CreatedDate\":1800000000.5}}"
    );
    let json = |status, body: &str| Reply::Answer(Answer::json(status, body));
    let broken = [
        Reply::CutInBody(Answer::json(200, whole.clone())),
        Reply::CutInBody(Answer::json(200, format!("{whole}{}", " ".repeat(whole.len())))),
        json(200, &whole[..whole.len() - 1]),
        json(200, &format!("{whole}{whole}")),
        json(200, &whole.replace("\"Name\":\"db\"", "\"Name\":7")),
        json(200, &whole.replace("VersionId", "Nothing")),
        json(200, &whole.replace("SecretString", "SecretBinary")),
        json(200, &format!("{{\"SecretString\":{text}")),
        json(400, &whole),
        json(500, &whole),
        Reply::Answer(Answer { status: 200, headers: Vec::new(), body: canary.value().into() }),
        Reply::Answer(Answer { status: 418, headers: Vec::new(), body: canary.value().into() }),
    ];
    let count = broken.len();
    let current = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let script = {
        let (current, broken) = (current.clone(), broken);
        move |_: &leasehold_provider_conformance::scripted::Request, _| {
            broken[current.load(std::sync::atomic::Ordering::SeqCst)].clone()
        }
    };
    let upstream = ScriptedServer::start(script).await.unwrap();
    let mut scene = scene(&upstream.url(), &key, &token);
    let daemon = scene.start().await;
    let (workload, operator) = (scene.connect(WORKLOAD).await, scene.connect(OPERATOR).await);
    let mut failed = 0;
    for n in 0..count {
        current.store(n, std::sync::atomic::Ordering::SeqCst);
        // Some that are odd are whole enough to be taken.
        match workload.leases().issue_lease(issue(SECRET)).await {
            Ok(_) => {}
            Err(status) => {
                failed += 1;
                scene.heard("a lease on a broken answer", format!("{status:?}"));
            }
        }
        if let Err(status) = operator.operators().write_secret(write(&written, "")).await {
            scene.heard("a write on a broken answer", format!("{status:?}"));
        }
    }
    assert!(failed >= count - 3, "{failed} of {count} answers were refused");
    scene.leasehold("operator", "audit query -o json");
    assert!(daemon.stop().await.success());
    let sent = upstream.requests().iter().any(|request| !written.found_in(&request.body).is_empty());
    assert!(sent, "what was written was sent to nobody");
    scene.search(&[&canary, &written, &key, &token]);
}
