//! What the check says, and the lines that it proposes.

use leasehold_core::{
    ports::Provider,
    provider::{Demand, Finding, Verdict},
};
use leasehold_provider_conformance::scripted::{
    Reply,
    gcp::{error_info, refusal},
};
use leasehold_provider_gcp::{Credentials, GcpProvider};

use crate::{
    setup::{ACCOUNT, SECRET, broken, cloud, provider},
    sign_in::service_account_key,
};

fn read(reference: &str) -> Demand {
    Demand::Read { reference: reference.into() }
}

fn write(reference: &str) -> Demand {
    Demand::Write { reference: reference.into() }
}

fn issue() -> Demand {
    Demand::Issue { role: "deploy".into() }
}

async fn last(provider: &GcpProvider, demand: Demand) -> Finding {
    provider.check(&[demand]).await.pop().unwrap()
}

fn failed(finding: Finding) -> (String, String, Option<String>) {
    match finding.verdict {
        Verdict::Failed { problem, remedy, grant } => (problem, remedy, grant),
        other => panic!("{}: {other:?}", finding.step),
    }
}

#[tokio::test]
async fn what_is_allowed_passes_and_what_is_not_has_the_line_that_allows_it() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"hunter2");
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key.json");
    service_account_key(&key, &server.url());
    let (provider, _home) = provider(&server.url(), |config| config.credentials = Credentials::File(key));
    let findings = provider.check(&[read("db"), write("db"), issue()]).await;
    assert!(findings.iter().all(|finding| matches!(finding.verdict, Verdict::Passed(_))), "{findings:?}");
    let Verdict::Passed(who) = &findings.first().unwrap().verdict else { panic!() };
    assert!(who.starts_with("as serviceAccount:broker@my-project.iam.gserviceaccount.com, until "), "{who}");
    assert_eq!(cloud.count(SECRET), 1, "nothing was written");

    let member = "--member='serviceAccount:broker@my-project.iam.gserviceaccount.com'";
    cloud.permit("secretmanager.versions.access", false);
    cloud.permit("iam.serviceAccounts.getAccessToken", false);
    let (problem, _, grant) = failed(last(&provider, read("db")).await);
    assert!(problem.contains("secretmanager.versions.access"), "{problem}");
    assert_eq!(
        grant.unwrap(),
        format!(
            "gcloud secrets add-iam-policy-binding db --project=my-project {member} --role=roles/secretmanager.secretAccessor"
        )
    );
    let (problem, _, grant) = failed(last(&provider, write("db")).await);
    assert!(problem.starts_with("the broker lacks secretmanager.versions.access, or"), "{problem}");
    assert!(grant.unwrap().contains("roles/secretmanager.secretVersionManager"));
    let (_, _, grant) = failed(last(&provider, issue()).await);
    assert_eq!(
        grant.unwrap(),
        format!(
            "gcloud iam service-accounts add-iam-policy-binding {ACCOUNT} {member} --role=roles/iam.serviceAccountTokenCreator"
        )
    );

    let Verdict::NotTried(why) =
        last(&provider, read("projects/my-project/secrets/app-{rest}")).await.verdict
    else {
        panic!()
    };
    assert!(why.contains(r#"resource.name.startsWith("projects/PROJECT_NUMBER/secrets/app-")"#), "{why}");
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    for (code, reason, said, remedy) in [
        ("PERMISSION_DENIED", "SERVICE_DISABLED", "is not enabled", "gcloud services enable"),
        ("PERMISSION_DENIED", "CONSUMER_INVALID", "no such project", "put `project` right"),
        ("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "other scopes", "cloud-platform"),
        ("PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED", "perimeter", "ingress rules"),
        ("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "are refused", "deleted or has ended"),
        ("NOT_FOUND", "", "no such secret", "create the secret"),
        ("RESOURCE_EXHAUSTED", "", "too many requests", "quota"),
    ] {
        let answer = refusal(code, "canary", &[error_info(reason)]);
        let (_, server, _) = broken(move |_, _, _| Some(Reply::Answer(answer.clone()))).await;
        let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
        let (problem, way_out, _) = failed(last(&provider, read("db")).await);
        assert!(problem.contains(said) && way_out.contains(remedy), "{reason}: {problem} / {way_out}");
    }

    let skewed = refusal("UNAUTHENTICATED", "", &[]).header("date", "Sun, 22 Nov 2026 11:00:00 GMT");
    let (_, server, _) = broken(move |_, _, _| Some(Reply::Answer(skewed.clone()))).await;
    let (wrong_clock, _home) = provider(&server.url(), |_| {});
    let (_, remedy, _) = failed(last(&wrong_clock, read("db")).await);
    assert_eq!(remedy, "set this machine's clock, which is 3600 s ahead of Google's");

    let (nowhere, _home) = provider("http://127.0.0.1:1", |config| config.max_attempts = 1);
    let (problem, remedy, _) = failed(last(&nowhere, read("db")).await);
    assert!(problem.contains("cannot be reached") && remedy.contains("`location`"), "{problem} / {remedy}");
}

#[tokio::test]
async fn without_credentials_nothing_else_is_tried() {
    let (_, server) = cloud().await;
    let (provider, _home) =
        provider(&server.url(), |config| config.credentials = Credentials::File("/nowhere/key.json".into()));
    let findings = provider.check(&[read("db"), issue()]).await;
    assert!(findings.first().unwrap().is_failed());
    assert!(
        findings.iter().skip(1).all(|finding| matches!(finding.verdict, Verdict::NotTried(_))),
        "{findings:?}"
    );
    assert_eq!(server.requests().len(), 0);
}
