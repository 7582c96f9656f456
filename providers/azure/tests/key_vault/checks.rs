//! What a check tells people.

use leasehold_core::{
    ports::Provider as _,
    provider::{Demand, Finding, Verdict},
};
use leasehold_provider_azure::{AzureProvider, AzureRole, Identity};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer, azure::CLIENT};

use crate::kit::Site;

fn read(reference: &str) -> Demand {
    Demand::Read { reference: reference.into() }
}

async fn check(provider: &AzureProvider, demands: &[Demand]) -> Vec<Finding> {
    provider.check(demands).await
}

fn failed(findings: &[Finding]) -> Vec<(&str, &str, &str, &str)> {
    let failed = findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Failed { problem, remedy, grant } => {
            Some((&*finding.step, &**problem, &**remedy, grant.as_deref().unwrap_or_default()))
        }
        _ => None,
    });
    failed.collect()
}

#[tokio::test]
async fn what_is_allowed_passes_and_nothing_is_changed() {
    let site = Site::start().await;
    site.azure.put("db", "canary-value", None);
    let provider = site.provider(|config| {
        let role = AzureRole { scope: "https://storage.azure.com/.default".into(), identity: None };
        config.roles.insert("storage".into(), role);
    });
    let demands = [
        read("db"),
        read("team-{rest}"),
        Demand::Write { reference: "db".into() },
        Demand::Issue { role: "storage".into() },
    ];
    let findings = check(&provider, &demands).await;
    assert_eq!(failed(&findings), []);
    let steps: Vec<_> = findings.iter().map(|finding| &*finding.step).collect();
    assert_eq!(
        steps,
        [
            "sign in as the application with a client secret",
            "reach the vault `myvault`",
            "read `db`",
            "read `team-{rest}`",
            "write `db`",
            "take a token of the role `storage`",
        ]
    );
    assert!(site.asked().iter().all(|asked| asked.starts_with("GET ")), "{:?}", site.asked());
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
}

#[tokio::test]
async fn a_missing_permission_comes_with_the_line_that_grants_it() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let provider = site.provider(|_| {});
    site.azure.forbid(&["get", "list"]);
    let demands = [read("db"), read("{rest}"), Demand::Write { reference: "db".into() }];
    let findings = check(&provider, &demands).await;
    let [one, mount, write] = failed(&findings)[..] else { panic!("{findings:?}") };
    assert!(one.1.contains("ForbiddenByRbac") && one.2.contains("grant the role"), "{one:?}");
    let vault = "$(az keyvault show --name myvault --query id --output tsv)";
    let first = format!(
        "az role assignment create --assignee {CLIENT} --role \"Key Vault Secrets User\" --scope \"{vault}/secrets/db\"\n"
    );
    assert!(one.3.starts_with(&first), "{}", one.3);
    assert!(
        one.3.ends_with(&format!("set-policy --name myvault --spn {CLIENT} --secret-permissions get list"))
    );
    assert!(mount.3.contains(&format!("--scope \"{vault}\"\n")), "roles know no patterns: {}", mount.3);
    assert!(write.3.contains("\"Leasehold Secret Writer\""), "{}", write.3);
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");

    site.azure.close(true);
    let findings = check(&provider, &[read("db")]).await;
    assert!(
        failed(&findings).iter().any(|found| found.3.contains("az keyvault network-rule add")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn each_way_not_to_come_in_has_its_own_words() {
    let words = async |site: &Site, change: fn(&mut leasehold_provider_azure::AzureConfig)| {
        let provider = site.provider(change);
        let findings = check(&provider, &[read("db")]).await;
        assert!(matches!(findings.last().unwrap().verdict, Verdict::NotTried(_)), "{findings:?}");
        let failed = failed(&findings);
        let (_, problem, remedy, _) = failed.first().unwrap();
        format!("{problem} | {remedy}")
    };
    let site = Site::start().await;
    site.azure.refuse_sign_in(Some(90_002));
    assert!(words(&site, |_| {}).await.contains("no such directory"));
    site.azure.refuse_sign_in(Some(700_024));
    assert!(words(&site, |_| {}).await.contains("synchronise this machine's clock"));
    site.azure.refuse_sign_in(None);
    assert!(words(&site, |config| config.ca_file = None).await.contains("needs its authority in `ca_file`"));
    site.azure.challenge_with(
        r#"Bearer authorization="https://evil.example/t", resource="https://vault.azure.net""#,
    );
    assert!(words(&site, |_| {}).await.contains("do not go on if they are right"));
    let unreached = Site::start().await;
    let nobody = words(&unreached, |config| {
        config.private_endpoint = Some(([127, 0, 0, 1], 1).into());
        config.max_attempts = 1;
    });
    assert!(nobody.await.contains("firewall, route, proxy"));
}

#[tokio::test]
async fn a_machine_elsewhere_and_a_version_that_stays_are_said_to_be() {
    let site = Site::start().await;
    let version = site.azure.put("db", "x", None);
    let elsewhere = ScriptedServer::start(|_, _| Reply::Answer(Answer::empty(403))).await.unwrap();
    let provider = site.provider(|config| {
        config.identity = Identity::Managed { client_id: None };
        config.metadata_address = elsewhere.address();
    });
    let findings = check(&provider, &[]).await;
    let [(_, problem, remedy, _)] = failed(&findings)[..] else { panic!("{findings:?}") };
    assert!(
        problem.contains("not Azure's") && remedy.contains("say another `identity`"),
        "{problem}: {remedy}"
    );

    let pinned = format!("db@{version}");
    let demands = [read(&pinned), Demand::Write { reference: pinned.as_str().into() }];
    let findings = check(&site.provider(|_| {}), &demands).await;
    assert_eq!(failed(&findings), []);
    let last = &findings.last().unwrap().verdict;
    assert!(matches!(last, Verdict::NotTried(why) if why.contains("pinned to a version")), "{last:?}");
}

#[test]
fn the_role_that_a_check_names_is_in_the_examples_and_allows_no_more_than_it_must() {
    let role = |name: &str| -> serde_json::Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/examples/azure");
        serde_json::from_slice(&std::fs::read(format!("{folder}/{name}.role.json")).unwrap()).unwrap()
    };
    for (file, name, verbs) in [
        ("secret-reader", "Leasehold Secret Reader", &["getSecret/action", "readMetadata/action"][..]),
        (
            "secret-writer",
            "Leasehold Secret Writer",
            &[
                "getSecret/action",
                "readMetadata/action",
                "setSecret/action",
                "update/action",
                "delete",
                "recover/action",
            ],
        ),
    ] {
        let role = role(file);
        assert_eq!(role["Name"], name);
        let allowed = verbs.iter().map(|verb| format!("Microsoft.KeyVault/vaults/secrets/{verb}"));
        assert_eq!(role["DataActions"], serde_json::json!(allowed.collect::<Vec<_>>()));
        assert_eq!(role["Actions"], serde_json::json!([]), "the vault itself is nothing of the broker's");
    }
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    site.azure.say_date("Sun, 06 Nov 1994 08:49:37 GMT");
    let findings = check(&site.provider(|_| {}), &[]).await;
    let [(step, problem, remedy, _)] = failed(&findings)[..] else { panic!("{findings:?}") };
    assert_eq!(step, "compare the clocks");
    assert!(problem.contains("ahead of the vault's") && remedy.contains("NTP"), "{problem}: {remedy}");
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_is_not_allowed() {
    let site = Site::start().await;
    let version = site.azure.put("off", "x", None);
    site.azure.mark("off", &version, false, None, None);
    let demands = [read("nobody"), read("off"), read("a.b"), Demand::Issue { role: "nobody".into() }];
    let findings = check(&site.provider(|_| {}), &demands).await;
    let told: Vec<_> = failed(&findings).into_iter().map(|(_, problem, _, grant)| (problem, grant)).collect();
    assert_eq!(told.len(), 4, "{findings:?}");
    for ((problem, grant), words) in
        told.iter().zip(["no such secret", "disabled", "`ref` does not name", "no such role"])
    {
        assert!(problem.contains(words) && grant.is_empty(), "{problem} {grant}");
    }
}
