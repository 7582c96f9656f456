//! Azure as a script plays it: two vaults, Entra ID and a machine with managed identities, as `config/examples/azure.toml`
//! has it.

use std::sync::Arc;

use leasehold_provider_conformance::{
    authority::Authority,
    scripted::{
        ScriptedServer,
        azure::{Azure, CLIENT, FEDERATED_TOKEN, VAULT_HOST},
    },
};
use serde_json::Value;

use crate::{
    examples::Example,
    kit::Scene,
    rotation::{allow, rotated_by, rotates_once},
};

const DB: &str = "prod/payments/db";
const PARTNER: &str = "prod/payments/partner-key";
const MOUNTED: &str = "prod/shared/tls";
const TOKEN: &str = "prod/payments/storage-token";

const STORAGE: &str = "https://storage.azure.com/.default";

/// A cloud behind TLS.
struct Played {
    azure: Arc<Azure>,
    server: ScriptedServer,
}

impl Played {
    async fn start(authority: &Authority) -> Self {
        let azure = Arc::new(Azure::new());
        let answering = Arc::clone(&azure);
        let server =
            ScriptedServer::start_tls(authority, &[VAULT_HOST], move |request, _| answering.answer(request));
        Self { azure, server: server.await.unwrap() }
    }
}

/// The two vaults of the example, each with what gives tokens for it.
struct World {
    main: Played,
    shared: Played,
    /// The identity service of the machine, which speaks plain HTTP.
    machine: ScriptedServer,
    authority: Authority,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new("scripted cloud").unwrap();
        let (main, shared) = (Played::start(&authority).await, Played::start(&authority).await);
        main.azure.sign_in_at("https://login.microsoftonline.com");
        shared.azure.sign_in_at(format!("https://localhost:{}", shared.server.address().port()));
        let answering = Arc::clone(&main.azure);
        let machine = ScriptedServer::start(move |request, _| answering.answer(request)).await.unwrap();
        Self { main, shared, machine, authority }
    }

    /// The example at these, lending this version of the partner's key.
    fn scene(&self, partner: &str) -> Scene {
        let of = |example: Example, name: &str, played: &Played| {
            example
                .provider(name, "private_endpoint", played.server.address().to_string())
                .provider(name, "ca_file", "azure-ca.pem")
                .provider(name, "attempt_timeout", "20s")
                .provider(name, "timeout", "40s")
        };
        let vault = VAULT_HOST.split('.').next().unwrap();
        let example = Example::of("azure")
            .provider("azure-main", "vault", vault)
            .provider("azure-main", "metadata_address", self.machine.address().to_string())
            .provider("azure-shared", "vault", format!("https://{VAULT_HOST}"))
            .provider(
                "azure-shared",
                "authority_host",
                format!("https://localhost:{}", self.shared.server.address().port()),
            )
            .provider("azure-shared", "vault_domain", "vault.azure.net")
            .provider("azure-shared", "client_id", CLIENT)
            .provider("azure-shared", "federated_token_file", "federated-token")
            .role("storage", "client_id", CLIENT)
            .secret(PARTNER, "ref", format!("partner-key@{partner}"));
        let example = rotated_by(example, DB, "strategy = \"generate\"");
        let example = of(of(example, "azure-main", &self.main), "azure-shared", &self.shared);
        let mut scene = Scene::of(example);
        allow(&scene);
        scene.site.write("azure-ca.pem", &self.authority.pem());
        scene.site.write("federated-token", FEDERATED_TOKEN);
        scene.guard("the federated token", FEDERATED_TOKEN);
        // What the vaults are opened with begins so.
        scene.guard("the broker's tokens", "canary-access-token-");
        scene
    }
}

#[tokio::test]
async fn the_example_lends_what_it_says() {
    let world = World::start().await;
    let pinned = world.main.azure.put("partner-key", "canary-pinned-27d1c8", None);
    world.main.azure.put("partner-key", "a newer one that is not pinned", None);
    let mut scene = world.scene(&pinned);
    let (db, team) = (scene.canary("db"), scene.canary("team"));
    world.main.azure.put("payments-db", &db, None);
    world.shared.azure.put("team-tls", &team, None);

    let daemon = scene.start().await;
    assert_eq!(scene.lease(DB).await.field("value"), db);
    let held = scene.lease(PARTNER).await;
    assert_eq!((held.field("value"), held.version()), ("canary-pinned-27d1c8", &*pinned));
    let foreign = scene.lease(MOUNTED).await;
    assert_eq!((foreign.field("value"), &foreign.lease["provider"]), (&*team, &Value::from("azure-shared")));

    let token = scene.lease(TOKEN).await;
    let field = token
        .fields
        .as_object()
        .unwrap()
        .values()
        .find_map(|value| value.as_str().filter(|text| world.main.azure.opens(text, STORAGE)));
    assert!(field.is_some(), "it opens nothing");
    let end = token.irrevocable_until().unwrap().to_owned();
    let records = scene.records("lease.issued", &format!("--lease {}", token.id)).await;
    assert_eq!(records[0]["details"]["revocation"], format!("none until {end}"), "{records:?}");
    let shown = scene.run("workload", &format!("lease show {}", token.id), "").await;
    assert!(shown.out.contains("none until"), "{shown:?}");
    for provider in ["azure-main", "azure-shared"] {
        scene.checked(provider).await;
    }
    scene.close(daemon).await;
}

#[tokio::test]
async fn people_disable_delete_restore_and_purge() {
    let world = World::start().await;
    let pinned = world.main.azure.put("partner-key", "canary-pinned-0b9e55", None);
    let mut scene = world.scene(&pinned);
    let (old, new) = (scene.canary("old"), scene.canary("new"));
    let first = world.main.azure.put("payments-db", &old, None);
    let daemon = scene.start().await;
    assert_eq!(scene.lease(DB).await.field("value"), old);
    let second = scene.put(DB, &new).await;
    let held = scene.lease(DB).await;
    assert_eq!((held.field("value"), held.version()), (&*new, &*second));

    scene.operator(&format!("secret disable {DB} --version {first}")).await;
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let state = |at: usize| listed[at]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("enabled", "disabled"), "{listed}");
    scene.operator(&format!("secret enable {DB} --version {first}")).await;
    // A version that somebody else has disabled is not lent.
    world.main.azure.mark("partner-key", &pinned, false, None, None);
    let why = scene.refused("workload", &format!("lease get {PARTNER}")).await;
    assert!(why.contains("PROVIDER_SECRET_ABSENT"), "{why}");

    // A vault takes its time for these.
    world.main.azure.lag(2);
    scene.operator(&format!("secret delete {DB}")).await;
    let why = scene.refused("workload", &format!("lease get {DB}")).await;
    assert!(why.contains("PROVIDER_SECRET_ABSENT"), "{why}");
    scene.operator(&format!("secret restore {DB}")).await;
    assert_eq!(scene.lease(DB).await.field("value"), new);
    scene.operator(&format!("secret delete {DB}")).await;
    scene.operator(&format!("secret purge {DB} --yes")).await;
    scene.refused("operator", &format!("secret restore {DB}")).await;

    // The other vault's provider is not `writable`.
    let why = scene.refused("operator", &format!("secret delete {MOUNTED}")).await;
    assert!(why.contains("PROVIDER_UNSUPPORTED"), "{why}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_rotation_disables_the_old_version_when_nobody_holds_it() {
    let world = World::start().await;
    let pinned = world.main.azure.put("partner-key", "canary-pinned-5f2c91", None);
    let mut scene = world.scene(&pinned);
    let first = scene.canary("first");
    world.main.azure.put("payments-db", &first, None);
    let daemon = scene.start().await;
    let (old, new, last) = rotates_once(&mut scene, DB, "value").await;
    assert_eq!((old.field("value"), &last["verification"]), (&*first, &Value::from("verified")), "{last}");
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let of = |taken: &str| {
        let mut all = listed.as_array().unwrap().iter();
        all.find(|facts| facts["version"] == taken).unwrap()["state"].clone()
    };
    assert_eq!((of(new.version()), of(old.version())), ("enabled".into(), "disabled".into()), "{listed}");
    scene.close(daemon).await;
}
