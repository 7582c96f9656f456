//! Through the broker's own back end.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use leasehold_proto::v1::{
    GetLeaseRequest, IssueLeaseRequest, LeaseChange, QueryAuditRequest, RenewLeaseRequest,
    RevokeLeaseRequest, SecretValue, WatchLeasesRequest, WriteSecretRequest, watch_leases_response::Event,
};
use leasehold_tests::{
    canary::Canary,
    load::{Call, CallError, Connection},
    raw::Raw,
    site::{OPERATOR, SECRET, STRANGER, WORKLOAD},
};

use crate::scene::Scene;

/// A secret that is read from its back end for every lease.
const FRESH: &str = "prod/payments/fresh";

fn secrets() -> String {
    let secret = |path, name, more| {
        format!("[[secret]]\npath = \"{path}\"\nprovider = \"local\"\nref = \"{name}\"\n{more}\n")
    };
    secret(SECRET, "db", "") + &secret(FRESH, "fresh", "max_age = \"0s\"\nmax_stale = \"0s\"")
}

fn write(path: &str, field: &str, value: &str) -> WriteSecretRequest {
    WriteSecretRequest {
        path: path.into(),
        value: Some(SecretValue {
            fields: [(field.to_owned(), value.as_bytes().to_vec())].into(),
            content_type: "text/plain".into(),
        }),
        ..Default::default()
    }
}

fn issue(secret: &str) -> IssueLeaseRequest {
    IssueLeaseRequest { secret: secret.into(), ..Default::default() }
}

async fn lease(raw: &Raw, request: IssueLeaseRequest, expected: &Canary) -> String {
    let answer = raw.leases().issue_lease(request).await.unwrap().into_inner();
    let value = answer.value.as_ref().unwrap();
    assert!(value.fields.values().any(|bytes| bytes == expected.value().as_bytes()), "it is what was put");
    answer.lease.unwrap().id
}

/// The sealed file of a secret's only version.
fn sealed_file(scene: &Scene, name: &str) -> PathBuf {
    let folder = scene.site.state().join("providers/local/secrets").join(name).join("@");
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn a_canary_leaves_no_trace() {
    let [first, second, third, refused] = ["put", "put as a field", "written", "refused"].map(Canary::new);
    let mut scene = Scene::new(secrets());
    let daemon = scene.start().await;

    // Put by people: from standard input and from files; on the command line it is refused and not repeated.
    let put = scene.run("operator", &["secret", "put", SECRET], first.value().as_bytes());
    assert_eq!(put.0, 0);
    let file = scene.file("password", second.value());
    let (code, _) = scene
        .leasehold("operator", &format!("secret put {FRESH} --field password=@{} -o json", file.display()));
    assert_eq!(code, 0);

    leased(&mut scene, &first).await;
    by_people(&mut scene, &first, &second);
    refusals(&mut scene, &refused).await;
    back_end_failures(&mut scene, &second).await;

    let operator = scene.connect(OPERATOR).await;
    operator.operators().write_secret(write(SECRET, "value", third.value())).await.unwrap();
    lease(&scene.connect(WORKLOAD).await, issue(SECRET), &third).await;

    // Broken files under a running daemon.
    let config = fs::read_to_string(scene.site.path("leasehold.toml")).unwrap();
    for broken in ["[[secret]]\npath = 7\n", "[[["] {
        scene.site.write("leasehold.toml", &format!("{config}{broken}"));
        let rejection = daemon.reload(&scene.site).await.rejection;
        assert!(!rejection.is_empty());
        scene.heard("the status after a reload", rejection);
    }
    scene.site.write("leasehold.toml", &config);
    scene.look_at(daemon.id());

    // A crash with leases held, and an end in order.
    daemon.kill();
    let daemon = scene.start().await;
    lease(&scene.connect(WORKLOAD).await, issue(SECRET), &third).await;
    audit(&mut scene).await;
    scene.look_at(daemon.id());
    assert!(daemon.stop().await.success());
    let state = scene.site.state().display().to_string();
    assert_eq!(scene.leasehold("operator", &format!("audit verify {state}")).0, 0);
    let (_, records) = scene.leasehold("operator", &format!("audit query -o jsonl --dir {state}"));
    assert!(records.contains("value_hmac"), "what may be said of a value is said");

    scene.search(&[&first, &second, &third, &refused]);
}

/// Every verb of workloads.
async fn leased(scene: &mut Scene, canary: &Canary) {
    let raw = scene.connect(WORKLOAD).await;
    let watching = raw.leases().watch_leases(WatchLeasesRequest::default()).await.unwrap();
    let mut watch = watching.into_inner();
    let named = IssueLeaseRequest { request_id: "r-1".into(), fields: vec!["value".into()], ..issue(SECRET) };
    let id = lease(&raw, named.clone(), canary).await;
    assert_eq!(lease(&raw, named.clone(), canary).await, id, "the same request");
    let other = IssueLeaseRequest { fields: Vec::new(), ..named };
    scene.refused("a request id for another request", raw.leases().issue_lease(other).await);

    let renew = RenewLeaseRequest { lease_id: id.clone(), ..Default::default() };
    let renewed = raw.leases().renew_lease(renew.clone()).await.unwrap();
    scene.heard("a renewal", format!("{renewed:?}"));
    let got = raw.leases().get_lease(GetLeaseRequest { lease_id: id.clone() }).await.unwrap();
    scene.heard("a lease", format!("{got:?}"));
    let revoke = RevokeLeaseRequest { lease_id: id, ..Default::default() };
    let revoked = raw.leases().revoke_lease(revoke).await.unwrap();
    scene.heard("a revocation", format!("{revoked:?}"));
    scene.refused("a renewal of a revoked lease", raw.leases().renew_lease(renew).await);

    let short =
        IssueLeaseRequest { ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..issue(SECRET) };
    let short = lease(&raw, short, canary).await;
    // What the workload is told of it all, up to the end of the short one.
    loop {
        let told = tokio::time::timeout(Duration::from_secs(30), watch.message()).await.expect("it expires");
        let told = told.unwrap().unwrap();
        scene.heard("a watch", format!("{told:?}"));
        let Some(Event::LeaseEvent(event)) = told.event else { continue };
        if event.change() == LeaseChange::Expired {
            assert_eq!(event.lease.unwrap().id, short);
            break;
        }
    }
    let late = RenewLeaseRequest { lease_id: short, ..Default::default() };
    scene.refused("a renewal of an expired lease", raw.leases().renew_lease(late).await);
    let missing = IssueLeaseRequest { fields: vec!["nope".into()], ..issue(SECRET) };
    scene.refused("a field that is not there", raw.leases().issue_lease(missing).await);
    let stranger = scene.connect(STRANGER).await;
    scene.refused("a stranger's request", stranger.leases().issue_lease(issue(SECRET)).await);
}

/// The command line's way to the value, and all that it shows beside it.
fn by_people(scene: &mut Scene, first: &Canary, second: &Canary) {
    let (code, out) = scene.run("workload", &["lease", "get", SECRET, "--field", "value"], &[]);
    assert_eq!((code, out.as_str()), (0, first.value()), "the value is what was asked for");
    let (code, out) = scene.run("workload", &["lease", "get", FRESH, "-o", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["value"]["fields"]["password"]), (0, &second.value().into()));
    let id = json["lease"]["id"].as_str().unwrap();
    for line in [
        format!("lease get {SECRET}"),
        format!("lease show {id} -o json"),
        format!("lease renew {id} --ttl 5m"),
        "lease list -o json".to_owned(),
        format!("lease revoke {id} --reason done"),
    ] {
        assert_eq!(scene.leasehold("workload", &line).0, 0, "{line}");
    }
    for line in [
        "status -o json".to_owned(),
        "secret list -o json".to_owned(),
        format!("secret show {SECRET} -o json"),
        "lease list --all -o jsonl".to_owned(),
    ] {
        assert_eq!(scene.leasehold("operator", &line).0, 0, "{line}");
    }
}

/// A value that is refused for every reason that there is.
async fn refusals(scene: &mut Scene, canary: &Canary) {
    let inline = format!("password={}", canary.value());
    let spawned =
        scene.site.leasehold("operator").args(["secret", "put", SECRET, "--field", &inline]).output();
    let output = spawned.unwrap();
    assert_eq!(output.status.code(), Some(2));
    scene.heard("standard error of a put with the value on the command line", output.stderr);
    scene.heard("standard output of it", output.stdout);
    let two = ["secret", "put", SECRET, "--expected", "v99-aaaaaaaa"];
    assert_eq!(scene.run("operator", &two, canary.value().as_bytes()).0, 7, "another version is current");
    assert_eq!(scene.run("stranger", &two[..3], canary.value().as_bytes()).0, 3, "not allowed");

    let value = canary.value();
    let large = |bytes| value.repeat(bytes / value.len());
    let typed = |content_type: &str| {
        let mut request = write(SECRET, "value", value);
        request.value.as_mut().unwrap().content_type = content_type.into();
        request
    };
    let cases = [
        ("a field's name that is none", write(SECRET, "a/b", value)),
        ("a content type that is none", typed("\u{7f}")),
        ("no path", write("", "value", value)),
        ("an unknown secret", write("prod/payments/nothing", "value", value)),
        ("a value that is too large for the back end", write(SECRET, "value", &large(300 << 10))),
        ("a value that is too large", write(SECRET, "value", &large(600 << 10))),
        ("a message that is too large", write(SECRET, "value", &large(2 << 20))),
        (
            "a bad version",
            WriteSecretRequest { expected_version: "no version".into(), ..write(SECRET, "value", value) },
        ),
        (
            "a bad request id",
            WriteSecretRequest { request_id: "a b".into(), ..write(SECRET, "value", value) },
        ),
    ];
    let operator = scene.connect(OPERATOR).await;
    for (what, request) in cases {
        let answer = operator.operators().write_secret(request).await;
        scene.refused(what, answer);
    }
    let once = |value| WriteSecretRequest { request_id: "w-1".into(), ..write(FRESH, "value", value) };
    // Two writes under one name: the second is another.
    let answer = operator.operators().write_secret(once("harmless")).await;
    answer.unwrap();
    scene.refused("a request id for another value", operator.operators().write_secret(once(value)).await);
    let stranger = scene.connect(STRANGER).await;
    scene.refused(
        "a stranger's value",
        stranger.operators().write_secret(write(SECRET, "value", value)).await,
    );

    // The value where a message is expected, so that the message cannot be decoded.
    let garbled = prost_types::Any { type_url: SECRET.into(), value: value.into() };
    let call = Call::new("leasehold.v1.OperatorService/WriteSecret", &garbled);
    let tls = scene.site.tls(Some(&scene.site.identity(OPERATOR)));
    let mut connection = Connection::open(scene.site.address, tls).await.unwrap();
    let answer = connection.call(&call).await;
    assert!(matches!(answer, Err(CallError::Status(_))), "a message that is none was taken");
}

/// A sealed file that is damaged, exposed, cut and gone, with the canary in it.
async fn back_end_failures(scene: &mut Scene, canary: &Canary) {
    let operator = scene.connect(OPERATOR).await;
    let raw = scene.connect(WORKLOAD).await;
    fs::remove_dir_all(scene.site.state().join("providers/local/secrets/fresh")).unwrap();
    operator.operators().write_secret(write(FRESH, "password", canary.value())).await.unwrap();
    let file = sealed_file(scene, "fresh");
    let good = fs::read(&file).unwrap();
    lease(&raw, issue(FRESH), canary).await;

    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (what, bytes) in [("damaged", &flipped[..]), ("cut", &good[..good.len() / 2]), ("empty", &[])] {
        fs::write(&file, bytes).unwrap();
        scene.refused(what, raw.leases().issue_lease(issue(FRESH)).await);
    }
    fs::write(&file, &good).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    scene.refused("exposed", raw.leases().issue_lease(issue(FRESH)).await);
    fs::remove_file(&file).unwrap();
    scene.refused("gone", raw.leases().issue_lease(issue(FRESH)).await);
}

/// The journal as operators read it, through the daemon.
async fn audit(scene: &mut Scene) {
    for line in ["audit tail -n 1000 -o json", "audit query", "audit query --outcome failed -o jsonl"] {
        assert_eq!(scene.leasehold("operator", line).0, 0, "{line}");
    }
    let operator = scene.connect(OPERATOR).await;
    let mut records =
        operator.operators().query_audit(QueryAuditRequest::default()).await.unwrap().into_inner();
    while let Some(record) = records.message().await.unwrap() {
        scene.heard("an audit record", format!("{record:?}"));
    }
}
