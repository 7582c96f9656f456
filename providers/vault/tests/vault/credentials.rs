//! Credentials, from their making to their end.

use std::{collections::BTreeMap, time::Duration};

use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    lease::RevocationHandle,
    ports::{Issuer, Provider},
    provider::{
        ErrorClass, IssueCredential, IssuedCredential, ProviderError, RenewCredential, Revocation,
        RevokeCredential,
    },
    ttl::{after, until as time_until},
};
use leasehold_provider_conformance::{
    peers::{Bao, Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_provider_vault::{Method, VaultConfig, VaultProvider, VaultRole};
use serde_json::{Value, json};

use crate::kit::{Home, Wall, dev, field, policy, provider, until};

const LEASE: LeaseId = LeaseId::from_bits([7; 16]);

fn now() -> Timestamp {
    leasehold_core::ports::Clock::now(&Wall::default())
}

async fn reserved(issuer: &dyn Issuer, role: &str) -> Option<RevocationHandle> {
    issuer.reserve(role).await.unwrap()
}

async fn issue_with(
    issuer: &dyn Issuer,
    role: &str,
    ttl: u64,
    reservation: Option<&RevocationHandle>,
) -> Result<IssuedCredential, ProviderError> {
    let holder: SpiffeId = "spiffe://example.org/prod/web".parse().unwrap();
    let ttl = Duration::from_secs(ttl);
    let request = IssueCredential {
        lease: LEASE,
        holder: &holder,
        role,
        ttl,
        max_ttl: ttl * 2,
        within: ttl,
        reservation,
    };
    issuer.issue(request).await
}

async fn issue(issuer: &dyn Issuer, role: &str, ttl: u64) -> IssuedCredential {
    let reservation = reserved(issuer, role).await;
    issue_with(issuer, role, ttl, reservation.as_ref()).await.unwrap()
}

fn handle(issued: &IssuedCredential) -> &RevocationHandle {
    match &issued.revocation {
        Revocation::By(handle) => handle,
        Revocation::NoneUntil(end) => panic!("irrevocable until {end}"),
    }
}

async fn revoke(issuer: &dyn Issuer, handle: &RevocationHandle) {
    issuer.revoke(RevokeCredential { lease: LEASE, handle: Some(handle) }).await.unwrap();
}

fn seconds_left(end: Timestamp) -> u64 {
    time_until(now(), end).as_secs()
}

/// An OpenBao whose database engine makes users of a PostgreSQL.
struct Databases {
    bao: Bao,
    postgres: Postgres,
    home: Home,
}

impl Databases {
    async fn start() -> Option<Self> {
        let bao = dev().await?;
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        bao.mount_database("database", &postgres).await.unwrap();
        let (ttl, max) = (Duration::from_secs(60), Duration::from_secs(100));
        bao.add_database_role("database", "app", ttl, max).await.unwrap();
        Some(Self { bao, postgres, home: Home::new() })
    }

    fn config(&self, url: String, token: &str) -> VaultConfig {
        let wrapped =
            VaultRole { wrap_ttl: Some(Duration::from_secs(30)), ..VaultRole::new("database/creds/app") };
        let roles = [("app", VaultRole::new("database/creds/app")), ("wrapped", wrapped)];
        VaultConfig {
            roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
            ..self.home.with_token(url, token)
        }
    }

    fn provider(&self) -> VaultProvider {
        provider(self.config(self.bao.url(), self.bao.token()))
    }

    async fn lets_in(&self, issued: &IssuedCredential) -> bool {
        let (user, password) = (field(&issued.value, "username"), field(&issued.value, "password"));
        self.postgres.lets_in(&user, &password).await.unwrap()
    }

    async fn users(&self) -> usize {
        self.postgres.run("select 1 from pg_roles where rolname like 'v-%'").await.unwrap().len()
    }

    async fn tokens(&self) -> usize {
        let listed = self.bao.ask("LIST", "auth/token/accessors", None).await.unwrap();
        listed.pointer("/data/keys").and_then(Value::as_array).map_or(0, Vec::len)
    }
}

#[tokio::test]
async fn a_database_user_is_made_renewed_and_ended() {
    let Some(world) = Databases::start().await else { return };
    let provider = world.provider();
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "app", 900).await;
    assert!(world.lets_in(&issued).await);
    let end = issued.expires_at.unwrap();
    assert!((50..=60).contains(&seconds_left(end)), "the role says a minute, and it is {end}");
    assert!(!issued.version.as_str().contains("database"), "{} shows Vault's lease", issued.version);
    let looked = issuer.look_up(handle(&issued)).await.unwrap().unwrap();
    assert!(looked <= after(end, Duration::from_secs(2)), "{looked} {end}");

    let renew = |seconds| {
        let until = after(now(), Duration::from_secs(seconds));
        issuer.renew(RenewCredential { lease: LEASE, handle: handle(&issued), until })
    };
    let longer = renew(80).await.unwrap();
    assert!((70..=82).contains(&seconds_left(longer)), "{longer}");
    // Vault's own maximum is what counts.
    let most = renew(3600).await.unwrap();
    assert!(seconds_left(most) <= 100, "{most}");
    assert!(world.lets_in(&issued).await);

    revoke(issuer, handle(&issued)).await;
    assert!(!world.lets_in(&issued).await, "it is ended when the revocation is answered");
    revoke(issuer, handle(&issued)).await;
    assert_eq!(renew(10).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(issuer.look_up(handle(&issued)).await.unwrap_err().class, ErrorClass::Absent);
}

#[tokio::test]
async fn what_was_made_without_an_answer_is_ended_by_its_reservation() {
    let Some(world) = Databases::start().await else { return };
    for fault in [Fault::LoseAnswer, Fault::CutInBody] {
        let proxy = FaultProxy::start(world.bao.address()).await.unwrap();
        let provider = provider(world.config(proxy.url(), world.bao.token()));
        let issuer = provider.issuer().unwrap();
        let kept = issue(issuer, "app", 60).await;
        let reservation = reserved(issuer, "app").await.unwrap();
        proxy.inject(Injection::of(fault).on("GET /v1/database/creds/app"));
        let error = issue_with(issuer, "app", 60, Some(&reservation)).await.unwrap_err();
        assert_eq!((error.class, proxy.played()), (ErrorClass::Transient, 1), "{fault:?}: {error}");
        assert_eq!(world.users().await, 2, "{fault:?}");
        revoke(issuer, &reservation).await;
        until("the lost user is gone", async || world.users().await == 1).await;
        assert!(world.lets_in(&kept).await, "{fault:?}: somebody else's was ended");
        revoke(issuer, &reservation).await;
        revoke(issuer, handle(&kept)).await;
        assert_eq!(world.users().await, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn what_somebody_else_ended_is_seen() {
    let Some(world) = Databases::start().await else { return };
    let provider = world.provider();
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "app", 60).await;
    world.bao.ask("PUT", "sys/leases/revoke-prefix/database/creds/app", None).await.unwrap();
    until("Vault has forgotten it", async || {
        issuer.look_up(handle(&issued)).await.is_err_and(|error| error.class == ErrorClass::Absent)
    })
    .await;
    let until = after(now(), Duration::from_secs(90));
    let renewed = issuer.renew(RenewCredential { lease: LEASE, handle: handle(&issued), until }).await;
    assert_eq!(renewed.unwrap_err().class, ErrorClass::Absent);
    revoke(issuer, handle(&issued)).await;
}

#[tokio::test]
async fn a_credential_that_comes_wrapped_is_opened_at_once() {
    let Some(world) = Databases::start().await else { return };
    let provider = world.provider();
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "wrapped", 60).await;
    assert!(world.lets_in(&issued).await);
    revoke(issuer, handle(&issued)).await;
    assert!(!world.lets_in(&issued).await);
}

#[tokio::test]
async fn tokens_are_made_ahead_used_once_and_taken_back() {
    let Some(world) = Databases::start().await else { return };
    let before = world.tokens().await;
    let config = VaultConfig { spare_tokens: 3, ..world.config(world.bao.url(), world.bao.token()) };
    let provider = provider(config);
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "app", 60).await;
    // Its own, and three on the shelf.
    until("the shelf is full", async || world.tokens().await == before + 4).await;
    revoke(issuer, handle(&issued)).await;
    until("its token is gone", async || world.tokens().await == before + 3).await;
    // A dead token on the shelf costs one attempt, not all that follow.
    let reservation = reserved(issuer, "app").await.unwrap();
    // More than half of them are left, so that none is made beside this one.
    assert_eq!(world.tokens().await, before + 3);
    let accessor: Value = serde_json::from_slice(reservation.expose()).unwrap();
    let dead = json!({ "accessor": accessor["accessor"] });
    world.bao.ask("POST", "auth/token/revoke-accessor", Some(&dead)).await.unwrap();
    let error = issue_with(issuer, "app", 60, Some(&reservation)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    let again = issue(issuer, "app", 60).await;
    revoke(issuer, handle(&again)).await;
    drop(provider);
    // `clear` forgets the first three, which end by themselves.
    until("what is on the shelf is taken back", async || world.tokens().await <= before + 3).await;
}

#[tokio::test]
async fn by_a_token_role_credentials_hang_on_tokens_of_less_power() {
    let Some(world) = Databases::start().await else { return };
    let own = "path \"auth/token/create/leasehold\" { capabilities = [\"update\"] }
path \"auth/token/revoke-accessor\" { capabilities = [\"update\"] }
path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    policy(&world.bao, "own", own).await;
    policy(&world.bao, "made", "path \"database/creds/app\" { capabilities = [\"read\"] }").await;
    let role = json!({ "orphan": true, "renewable": true, "allowed_policies": ["made"] });
    world.bao.ask("POST", "auth/token/roles/leasehold", Some(&role)).await.unwrap();
    let token = world.bao.make_token(&["own"], Duration::from_secs(600)).await.unwrap();
    let config =
        VaultConfig { token_role: Some("leasehold".to_owned()), ..world.config(world.bao.url(), &token) };
    let provider = provider(config);
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "app", 60).await;
    // The broker's token may end, and what it made lives on.
    let accessor = serde_json::from_slice::<Value>(handle(&issued).expose()).unwrap()["accessor"].clone();
    let looked =
        world.bao.ask("POST", "auth/token/lookup-accessor", Some(&json!({ "accessor": accessor }))).await;
    let looked = looked.unwrap();
    assert_eq!(looked.pointer("/data/orphan"), Some(&json!(true)), "{looked}");
    assert_eq!(looked.pointer("/data/policies"), Some(&json!(["default", "made"])), "{looked}");
    revoke(issuer, handle(&issued)).await;
    assert!(!world.lets_in(&issued).await);
}

#[tokio::test]
async fn tokens_that_end_with_the_brokers_own_or_cannot_be_ended_carry_no_credential() {
    let Some(world) = Databases::start().await else { return };
    let kinds = [
        ("child", json!({ "orphan": false, "renewable": true })),
        ("batch", json!({ "orphan": true, "renewable": false, "token_type": "batch" })),
    ];
    for (name, role) in kinds {
        world.bao.ask("POST", &format!("auth/token/roles/{name}"), Some(&role)).await.unwrap();
        let config = VaultConfig {
            token_role: Some(name.to_owned()),
            ..world.config(world.bao.url(), world.bao.token())
        };
        let provider = provider(config);
        let error = provider.issuer().unwrap().reserve("app").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent, "{name}: {error}");
    }
    assert_eq!(world.users().await, 0);
}

#[tokio::test]
async fn what_is_said_to_have_no_lease_and_has_one_is_ended_and_refused() {
    let Some(world) = Databases::start().await else { return };
    let mut config = world.config(world.bao.url(), world.bao.token());
    let mistaken = VaultRole { leased: false, ..VaultRole::new("database/creds/app") };
    config.roles.insert("mistaken".to_owned(), mistaken);
    let provider = provider(config);
    let error = issue_with(provider.issuer().unwrap(), "mistaken", 60, None).await.unwrap_err();
    assert!(
        error.class == ErrorClass::Permanent && error.to_string().contains("`leased = false`"),
        "{error}"
    );
    assert_eq!(world.users().await, 0);
}

#[tokio::test]
async fn a_lease_longer_than_a_spare_tokens_life_keeps_its_token() {
    let Some(world) = Databases::start().await else { return };
    let (ttl, max) = (Duration::from_secs(6 * 3600), Duration::from_secs(12 * 3600));
    world.bao.add_database_role("database", "app", ttl, max).await.unwrap();
    let provider = world.provider();
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "app", 5 * 3600).await;
    let end = issued.expires_at.unwrap();
    assert!(seconds_left(end) > 5 * 3600 - 10, "{end}");
    let handle_of =
        |issued: &IssuedCredential| serde_json::from_slice::<Value>(handle(issued).expose()).unwrap();
    let accessor = json!({ "accessor": handle_of(&issued)["accessor"] });
    let left = async || {
        let looked = world.bao.ask("POST", "auth/token/lookup-accessor", Some(&accessor)).await.unwrap();
        looked.pointer("/data/ttl").and_then(Value::as_u64).unwrap()
    };
    assert!(left().await >= 5 * 3600, "its token ends before it");
    let wanted = after(now(), Duration::from_secs(8 * 3600));
    let renewed =
        issuer.renew(RenewCredential { lease: LEASE, handle: handle(&issued), until: wanted }).await;
    assert!(seconds_left(renewed.unwrap()) >= 8 * 3600 - 10);
    assert!(left().await >= 8 * 3600, "its token ends before it");
    revoke(issuer, handle(&issued)).await;
}

#[tokio::test]
async fn what_may_not_be_made_is_denied_and_what_is_not_there_says_so() {
    let Some(world) = Databases::start().await else { return };
    policy(&world.bao, "tokens", "path \"auth/token/*\" { capabilities = [\"update\"] }").await;
    let token = world.bao.make_token(&["tokens"], Duration::from_secs(600)).await.unwrap();
    let mut config = world.config(world.bao.url(), &token);
    config.roles.insert("nobody".to_owned(), VaultRole::new("nowhere/creds/app"));
    let denied = provider(config.clone());
    let issuer = denied.issuer().unwrap();
    let reservation = reserved(issuer, "app").await;
    let error = issue_with(issuer, "app", 60, reservation.as_ref()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    let config = VaultConfig { auth: world.config(world.bao.url(), world.bao.token()).auth, ..config };
    let root = provider(config);
    let issuer = root.issuer().unwrap();
    let reservation = reserved(issuer, "nobody").await;
    let error = issue_with(issuer, "nobody", 60, reservation.as_ref()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    let error = issue_with(issuer, "app", 60, None).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid, "without a reservation nothing is made: {error}");
    assert_eq!(world.users().await, 0);
}

/// PKI answers without a lease.
async fn certificates(bao: &Bao) {
    bao.ask("POST", "sys/mounts/pki", Some(&json!({ "type": "pki" }))).await.unwrap();
    let root = json!({ "common_name": "root", "ttl": "24h" });
    bao.ask("POST", "pki/root/generate/internal", Some(&root)).await.unwrap();
    let role = json!({
        "allow_any_name": true,
        "allowed_uri_sans": "spiffe://*",
        "max_ttl": "1h",
        "require_cn": false,
    });
    bao.ask("POST", "pki/roles/web", Some(&role)).await.unwrap();
}

fn pki(revoke_path: Option<&str>) -> VaultRole {
    VaultRole {
        method: Method::Post,
        parameters: [("ttl", "{ttl}"), ("uri_sans", "{holder}"), ("common_name", "web.example.org")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        leased: false,
        revoke_path: revoke_path.map(str::to_owned),
        ..VaultRole::new("pki/issue/web")
    }
}

#[tokio::test]
async fn a_certificate_says_until_when_nothing_ends_it_or_is_revoked_by_its_number() {
    let Some(bao) = dev().await else { return };
    certificates(&bao).await;
    let home = Home::new();
    let roles = BTreeMap::from([
        ("lasting".to_owned(), pki(None)),
        ("revocable".to_owned(), pki(Some("pki/revoke"))),
        // It answers without a lease all the same: the token that was made for it is not needed.
        ("mistaken".to_owned(), VaultRole { leased: true, ..pki(None) }),
    ]);
    let provider = provider(VaultConfig { roles, ..home.with_token(bao.url(), bao.token()) });
    let issuer = provider.issuer().unwrap();
    for role in ["lasting", "mistaken"] {
        let issued = issue(issuer, role, 600).await;
        assert!(field(&issued.value, "certificate").starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(issued.version.as_str(), field(&issued.value, "serial_number"));
        let Revocation::NoneUntil(end) = issued.revocation else { panic!("{:?}", issued.revocation) };
        assert!((590..=610).contains(&seconds_left(end)) && issued.expires_at == Some(end), "{end}");
    }
    let issued = issue(issuer, "revocable", 600).await;
    let renewal = RenewCredential { lease: LEASE, handle: handle(&issued), until: Timestamp::MAX };
    let end = issuer.renew(renewal).await.unwrap();
    assert_eq!(Some(end), issued.expires_at, "it has the time that it was made with");
    for _ in 0..2 {
        revoke(issuer, handle(&issued)).await;
    }
    let serial = issued.version.as_str();
    let stored = bao.ask("GET", &format!("pki/cert/{serial}"), None).await.unwrap();
    assert!(stored.pointer("/data/revocation_time").and_then(Value::as_i64).unwrap() > 0, "{stored}");
}

#[tokio::test]
async fn a_signed_ssh_key_lives_until_what_was_asked_for() {
    let Some(bao) = dev().await else { return };
    bao.ask("POST", "sys/mounts/ssh", Some(&json!({ "type": "ssh" }))).await.unwrap();
    bao.ask("POST", "ssh/config/ca", Some(&json!({ "generate_signing_key": true, "key_type": "ed25519" })))
        .await
        .unwrap();
    let role = json!({
        "key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "default_user": "deploy", "max_ttl": "1h",
    });
    bao.ask("POST", "ssh/roles/deploy", Some(&role)).await.unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJdBz6KgkqC0kuHnYXiNnDGUo3a0vX0d1f5t0v3s5T";
    let role = |ttl: bool| VaultRole {
        method: Method::Post,
        parameters: [("public_key", key), ("ttl", "{ttl}")]
            .into_iter()
            .filter(|(name, _)| ttl || *name != "ttl")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        leased: false,
        ..VaultRole::new("ssh/sign/deploy")
    };
    let home = Home::new();
    let roles = BTreeMap::from([("ssh".to_owned(), role(true)), ("endless".to_owned(), role(false))]);
    let provider = provider(VaultConfig { roles, ..home.with_token(bao.url(), bao.token()) });
    let issuer = provider.issuer().unwrap();
    let issued = issue(issuer, "ssh", 600).await;
    assert!(field(&issued.value, "signed_key").starts_with("ssh-ed25519-cert"));
    let Revocation::NoneUntil(end) = issued.revocation else { panic!("{:?}", issued.revocation) };
    assert!((590..=600).contains(&seconds_left(end)), "{end}");
    let error = issue_with(issuer, "endless", 600, None).await.unwrap_err();
    assert!(error.to_string().contains("{ttl}"), "{error}");
}
