//! What these tests have in common.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};

use leasehold_client::{
    Client, Issue, IssuedLease,
    proto::{AuditFilter, AuditRecord, QueryAuditRequest},
};
use leasehold_provider_conformance::scripted::{Answer, Reply};
use leasehold_tests::{
    binaries, daemon,
    raw::Raw,
    site::{SECRET, Site},
};

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.signal(), None, "it was killed");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// `leaseholdd` with the site's configuration.
pub(crate) fn leaseholdd(site: &Site, verb: &str) -> Ran {
    run(Command::new(binaries::leaseholdd()).args([verb, "--config"]).arg(site.path("leasehold.toml")))
}

/// `leasehold` as the identity `name`.
pub(crate) fn leasehold(site: &Site, name: &str, line: &str) -> Ran {
    run(site.leasehold(name).args(line.split(' ')))
}

/// What a workload asks for who wants `secret`.
pub(crate) fn issue(secret: &str) -> Issue {
    Issue { secret: secret.parse().unwrap(), ttl: None, fields: Vec::new(), request_id: None }
}

/// Takes a lease on the tests' secret.
pub(crate) async fn lease(client: &Client) -> IssuedLease {
    client.issue_lease(issue(SECRET)).await.unwrap()
}

/// A raw connection with an installed or a new identity of this SPIFFE ID.
pub(crate) async fn raw(site: &Site, id: &str) -> Raw {
    Raw::open(site.address, site.tls(Some(&site.identity(id)))).await.unwrap()
}

/// The journal's records of a kind, as the operator reads them.
pub(crate) async fn records(site: &Site, kind: &str) -> Vec<AuditRecord> {
    let filter = AuditFilter { kinds: vec![kind.to_owned()], ..AuditFilter::default() };
    let query = QueryAuditRequest { filter: Some(filter), ..QueryAuditRequest::default() };
    let mut records = daemon::operator(site).await.operator().query_audit(query).await.unwrap();
    let mut all = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        all.push(record);
    }
    all
}

/// Every file below a folder with what is in it.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// TOML of an AWS back end at `url` that has the tests' secret; its key file is `aws.key`.
pub(crate) fn aws(url: &str) -> String {
    format!(
        "[[provider]]\nname = \"aws\"\nkind = \"aws\"\nregion = \"eu-central-1\"\nendpoint_url = \"{url}\"\n\
         max_attempts = 1\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_access_key_file = \"aws.key\"\n\n\
         [[secret]]\npath = \"{SECRET}\"\nprovider = \"aws\"\nref = \"db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n"
    )
}

/// AWS's answer with a value.
pub(crate) fn aws_value(text: &str) -> Reply {
    Reply::Answer(Answer::json(
        200,
        format!(
            "{{\"ARN\":\"arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf\",\"Name\":\"db\",\
             \"VersionId\":\"11111111-2222-4333-8444-555555555555\",\"SecretString\":\"{text}\",\
             \"CreatedDate\":1800000000.5}}"
        ),
    ))
}
