//! Reloads over real files, with an engine whose ledger is in memory.

use std::{path::Path, sync::Arc};

use leasehold_core::record::{Actor, Record};
use leasehold_ledger::Memory;
use leasehold_seal::{KeyRing, SystemEntropy};

use super::*;

use crate::{
    compose::rotation_parts,
    config::Source,
    tls::authority::{Authority, Leaf, TestClock, write},
};

const POLICY: &str = "@id(\"look\")\npermit (principal is Operator, action, resource);\n";
const SECRET: &str = "[[secret]]\npath = 'prod/NAME'\nprovider = 'main'\nref = 'x'\n";

struct Fixture {
    folder: tempfile::TempDir,
    ledger: Arc<Memory>,
    reload: Reload,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        let main = format!(
            "[listen]\ncertificate = 'c.pem'\nkey = 'k.pem'\ntrust_bundle = 't.pem'\n[seal]\nkey_file = 's'\n\
             [ledger]\ndir = 'd'\n[identity]\noperators = ['/operator/']\ntrust_domain = 'example.org'\n\
             [[provider]]\nname = 'main'\nkind = 'local'\n{}",
            SECRET.replace("NAME", "a")
        );
        let path = folder.path();
        write(path, "leasehold.toml", main, 0o600);
        write(path, "policies/all.cedar", POLICY, 0o600);
        new_certificates(path);

        let clock: Arc<dyn Clock> = TestClock::new();
        let running = Config::load(&path.join("leasehold.toml")).unwrap();
        let Fresh { tls, policies } =
            check::read_fresh(&running, &clock).unwrap_or_else(|found| panic!("{found:?}"));
        let ledger = Arc::new(Memory::new());
        let authorizer = Arc::new(CedarAuthorizer::new(policies));
        let engine = Engine::new(leasehold_engine::Parts {
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            ledger: ledger.clone(),
            authorizer: authorizer.clone(),
            mac: KeyRing::generate(&SystemEntropy).unwrap().value_mac(),
            providers: BTreeMap::new(),
            provider_limits: BTreeMap::new(),
            catalog: running.catalog.clone(),
            settings: leasehold_engine::Settings::default(),
            broker: Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap()),
            rotation: rotation_parts(Arc::new(SystemEntropy), &"example.org".parse().unwrap()).unwrap(),
        });
        let reload =
            Reload { running, tls: Store::new(tls), authorizer, engine, clock, last: Arc::default() };
        Self { folder, ledger, reload }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn last_record(&self) -> Record {
        self.ledger.records().pop().unwrap()
    }

    fn rejection(&self) -> Option<String> {
        self.reload.last.lock().unwrap().clone().unwrap().rejection
    }

    /// The policies, the certificate and the number of secrets that are in force.
    async fn in_force(&self) -> (String, String, usize) {
        let actor = Actor::internal("spiffe://example.org/operator/eve".parse().unwrap());
        let secrets = self.reload.engine.status(actor).await.unwrap().secrets;
        let certificate = self.reload.tls.summary().fingerprint.to_string();
        (self.reload.authorizer.policies().digest().to_owned(), certificate, secrets)
    }
}

fn new_certificates(path: &Path) {
    let authority = Authority::new("ours");
    let issued = authority.issue(&Leaf::server());
    write(path, "c.pem", issued.pem(), 0o644);
    write(path, "k.pem", issued.key_pem(), 0o600);
    write(path, "t.pem", authority.pem(), 0o644);
}

#[tokio::test]
async fn everything_new_comes_in_force_and_is_recorded() {
    let fixture = Fixture::new();
    let before = fixture.in_force().await;
    write(fixture.path(), "policies/more.cedar", POLICY.replace("look", "more"), 0o600);
    std::fs::create_dir(fixture.path().join("secrets.d")).unwrap();
    write(fixture.path(), "secrets.d/b.toml", SECRET.replace("NAME", "b"), 0o600);
    new_certificates(fixture.path());

    fixture.reload.once().await;

    let record = fixture.last_record();
    assert_eq!((record.kind, record.outcome), (Kind::ConfigReloaded, Outcome::Ok));
    let after = fixture.in_force().await;
    assert_eq!(record.details["policies"], after.0);
    assert_eq!(record.details["certificate"], after.1);
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
    assert_eq!((before.2, after.2), (1, 2));
    assert_eq!(fixture.rejection(), None);
}

#[tokio::test]
async fn whatever_is_broken_nothing_of_it_comes_in_force() {
    type Break = fn(&Path);
    let cases: [(&str, Break); 7] = [
        ("is not TOML", |path| drop(write(path, "leasehold.toml", "[listen", 0o600))),
        ("unknown key `colour`", |path| {
            let text = std::fs::read_to_string(path.join("leasehold.toml")).unwrap();
            write(path, "leasehold.toml", format!("colour = 1\n{text}"), 0o600);
        }),
        ("broken.cedar:1:", |path| drop(write(path, "policies/broken.cedar", "permit (", 0o600))),
        ("k.pem", |path| {
            let other = Authority::new("other").issue(&Leaf::server());
            write(path, "k.pem", other.key_pem(), 0o600);
        }),
        ("can be read by others", |path| {
            let text = std::fs::read(path.join("k.pem")).unwrap();
            write(path, "k.pem", text, 0o644);
        }),
        ("c.pem", |path| std::fs::remove_file(path.join("c.pem")).unwrap()),
        ("t.pem", |path| drop(write(path, "t.pem", "", 0o600))),
    ];
    for (expected, broken) in cases {
        let fixture = Fixture::new();
        let before = fixture.in_force().await;
        // Good news beside the bad: a half of a configuration is never put in force.
        std::fs::create_dir(fixture.path().join("secrets.d")).unwrap();
        write(fixture.path(), "secrets.d/b.toml", SECRET.replace("NAME", "b"), 0o600);
        write(fixture.path(), "policies/more.cedar", POLICY.replace("look", "more"), 0o600);
        broken(fixture.path());

        fixture.reload.once().await;

        let record = fixture.last_record();
        assert_eq!(record.kind, Kind::ConfigRejected, "{expected}");
        assert_eq!(record.outcome, Outcome::Failed { reason: REJECTED.to_owned() });
        assert!(record.details["faults"].contains(expected), "{expected} is not in {:?}", record.details);
        assert_eq!(fixture.rejection().as_ref(), record.details.get("faults"));
        assert_eq!(fixture.in_force().await, before, "{expected}");
    }
}

#[tokio::test]
async fn a_mended_configuration_is_taken_again() {
    let fixture = Fixture::new();
    let broken = write(fixture.path(), "policies/broken.cedar", "permit (", 0o600);
    fixture.reload.once().await;
    assert!(fixture.rejection().is_some());
    std::fs::remove_file(broken).unwrap();
    fixture.reload.once().await;
    assert_eq!(fixture.rejection(), None);
    assert_eq!(fixture.last_record().kind, Kind::ConfigReloaded);
}

#[test]
fn what_needs_a_restart_is_said_and_does_not_change() {
    let config = |more: &str| {
        let text = format!(
            "[listen]\ncertificate = 'c'\nkey = 'k'\ntrust_bundle = 't'\n[seal]\nkey_file = 's'\n\
             [identity]\noperators = ['/operator/']\ntrust_domain = 'example.org'\n{more}"
        );
        Config::parse(&Source::new("/c/l.toml", text), &[]).unwrap()
    };
    let running = config("[ledger]\ndir = 'd'\n[[provider]]\nname = 'a'\nkind = 'local'\n");
    let new = config("[ledger]\ndir = 'd'\nnode = 'n'\n[limits]\nconnections = 7\n[policy]\ndir = 'p'\n");
    let kept = keep_what_needs_a_restart(&running, new.clone()).unwrap();
    assert_eq!(kept.needs_restart, ["[ledger] node", "[limits]", "provider `a`"]);
    assert_eq!(kept.config.policy.dir, new.policy.dir);
    assert!(keep_what_needs_a_restart(&running, running.clone()).unwrap().needs_restart.is_empty());
    for more in ["name = 'b'\nkind = 'local'", "name = 'a'\nkind = 'local'\nhistory = 3"] {
        let new = config(&format!("[ledger]\ndir = 'd'\n[[provider]]\n{more}\n"));
        let why = keep_what_needs_a_restart(&running, new).err().unwrap();
        assert!(why.contains("is new or has changed, which takes a restart"), "{why}");
    }
}
