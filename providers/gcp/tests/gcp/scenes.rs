//! What is wrong with a back end, played by a script: drongo is never in trouble.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use leasehold_core::SecretValue;
use leasehold_provider_conformance::{
    Against, Scene, Trouble, Unplayed,
    scripted::{
        Answer, Reply,
        gcp::{Cloud, refusal, retry_info},
    },
};
use leasehold_provider_gcp::Credentials;
use serde_json::json;
use tempfile::TempDir;

use crate::setup::{SECRET, broken, private_file, provider};

const VALUE: &str = "canary-scene-7f3a91";
const HINT: u64 = 30;

/// What is answered while it lasts.
fn instead(trouble: Trouble, whole: impl Fn() -> Reply) -> Option<Reply> {
    let answer = || match whole() {
        Reply::Answer(answer) => answer,
        other => panic!("{other:?}"),
    };
    Some(match trouble {
        Trouble::Throttled => Reply::Answer(refusal("RESOURCE_EXHAUSTED", VALUE, &[retry_info(HINT)])),
        Trouble::InternalError => Reply::Answer(refusal("INTERNAL", VALUE, &[])),
        Trouble::Unavailable => Reply::Answer(Answer::new(503, "text/html", VALUE)),
        Trouble::CutBeforeAnswer => Reply::Cut,
        Trouble::CutInAnswer => Reply::CutInBody(answer()),
        Trouble::CutAfterAnswer => Reply::CutAfterBody(answer()),
        Trouble::Silence => Reply::Silence,
        Trouble::StalledBody => Reply::StallInBody(answer()),
        _ => return None,
    })
}

pub(crate) async fn play(trouble: Trouble) -> Result<Scene, Unplayed> {
    let lost = AtomicBool::new(trouble == Trouble::LostWriteAnswer);
    let (cloud, server, healed) = broken(move |cloud: &Cloud, request, _| {
        if request.path().ends_with(":addVersion") && lost.swap(false, Ordering::SeqCst) {
            let _done = cloud.answer(request);
            return Some(Reply::Cut);
        }
        instead(trouble, || cloud.answer(request))
    })
    .await;
    cloud.put(SECRET, VALUE.as_bytes());
    let url = server.url();
    let (federation, folder) = federated(&url);
    let (provider, home) = provider(&url, |config| {
        if matches!(trouble, Trouble::Silence | Trouble::StalledBody) {
            config.attempt_timeout = Duration::from_millis(300);
            config.timeout = Duration::from_millis(700);
        }
        if trouble == Trouble::CredentialExpiry {
            config.credentials = federation;
        }
    });
    match trouble {
        Trouble::Denied => cloud.permit("secretmanager.versions.access", false),
        Trouble::Disabled => cloud.enable(SECRET, 1, false),
        Trouble::ClockSkew => {
            cloud.accept_only("another");
            cloud.date(Some("Sun, 22 Nov 2026 13:00:00 GMT"));
        }
        Trouble::CredentialExpiry => cloud.grant("granted-before"),
        _ => {}
    }
    let gone = if trouble == Trouble::Deleted { cloud.delete(SECRET) } else { Vec::new() };
    let scene = Scene::new(provider, "db", SecretValue::plain(VALUE.to_owned()), Against::Scripted);
    let scene = if trouble == Trouble::Throttled { scene.hinting(Duration::from_secs(HINT)) } else { scene };
    Ok(scene.keeping((server, home, folder)).turning(move || {
        match trouble {
            Trouble::Denied => cloud.permit("secretmanager.versions.access", true),
            Trouble::Disabled => cloud.enable(SECRET, 1, true),
            Trouble::CredentialExpiry => cloud.grant("granted-after"),
            // Each answer is followed by a cut, from the beginning to the end.
            Trouble::CutAfterAnswer => return std::future::ready(Ok(())),
            _ => {}
        }
        for value in &gone {
            cloud.put(SECRET, value);
        }
        healed.store(true, Ordering::SeqCst);
        std::future::ready(Ok(()))
    }))
}

/// Credentials that can be had anew: a workload identity federation of which this server is the token service.
pub(crate) fn federated(url: &str) -> (Credentials, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (subject, path) = (folder.path().join("subject"), folder.path().join("federation.json"));
    private_file(&subject, "subject-token");
    let json = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/k8s",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{url}/token"),
        "credential_source": { "file": subject },
    });
    private_file(&path, &json.to_string());
    (Credentials::File(path), folder)
}
