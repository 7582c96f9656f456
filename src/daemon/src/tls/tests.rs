//! Files that are refused, and material that is replaced.

use std::{path::PathBuf, sync::Arc};

use leasehold_core::{Timestamp, ports::Clock};
use tempfile::TempDir;

use super::{
    Distrust, Material, PeerGuard, Settings, Store,
    authority::{Authority, HOUR, Issued, Leaf, START, TestClock, domain, write},
};

struct Files {
    dir: TempDir,
    authority: Authority,
    clock: Arc<TestClock>,
    settings: Settings,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("clients");
        let server = Authority::new("servers").issue(&Leaf::server());
        let settings = Settings::new(
            write(dir.path(), "server.pem", server.pem(), 0o644),
            write(dir.path(), "server.key", server.key_pem(), 0o600),
            write(dir.path(), "clients.pem", authority.pem(), 0o644),
        );
        Self { dir, authority, clock: TestClock::new(), settings }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(self.dir.path(), name, content, 0o600)
    }

    fn load(&self) -> Result<Material, String> {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        Material::load(&self.settings, &domain(), &clock).map_err(|errors| errors.to_string())
    }

    fn fault(&self) -> String {
        self.load().err().expect("it is refused")
    }

    fn with_crls(&mut self, lists: &[&str]) {
        self.settings.crls = lists
            .iter()
            .enumerate()
            .map(|(number, list)| write(self.dir.path(), &format!("{number}.crl"), list, 0o644))
            .collect();
    }

    fn guard(&self, store: &Arc<Store>, peer: &Issued) -> PeerGuard {
        PeerGuard::new(Arc::clone(store), peer.chain.clone(), store.generation(), self.clock.now())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn what_fits_together_is_loaded_and_described() {
    let mut files = Files::new();
    files.with_crls(&[&files.authority.crl(&[1, 2], START + HOUR)]);
    let material = files.load().unwrap();
    let summary = material.summary();
    assert_eq!(summary.names, ["localhost"]);
    assert_eq!((summary.authorities, summary.expired_authorities, summary.crls), (1, 0, 1));
}

#[test]
fn files_that_are_not_what_they_should_be() {
    type Break = fn(&mut Files);
    let cases: [(Break, &str); 14] = [
        (
            |f| f.settings.certificate = "/nowhere/server.pem".into(),
            "certificate /nowhere/server.pem: cannot be read",
        ),
        (|f| f.settings.certificate = f.dir.path().into(), "is not a regular file"),
        (|f| f.settings.certificate = f.write("x", "hello"), "has no CERTIFICATE block"),
        (
            |f| f.settings.certificate = f.write("x", "-----BEGIN CERTIFICATE-----\nMIIB"),
            "an `-----END` line is missing",
        ),
        (|f| f.settings.certificate = f.write("x", pem("CERTIFICATE", "AAAA")), "item 1 does not parse"),
        (
            |f| f.settings.certificate = f.settings.client_bundle.clone(),
            "starts with an authority's certificate",
        ),
        (
            |f| f.settings.key = f.write("x", pem("ENCRYPTED PRIVATE KEY", "AAAA")),
            "nobody is there to type the passphrase",
        ),
        (|f| f.settings.key = f.write("x", pem("PRIVATE KEY", "AAAA")), "is not a key that TLS can use"),
        (|f| f.settings.key = f.write("x", other_key()), "does not belong to the certificate"),
        (
            |f| f.settings.key = write(f.dir.path(), "x", other_key(), 0o640),
            "can be read by others (mode 0640): run `chmod 600`",
        ),
        (
            |f| f.settings.client_bundle = f.settings.certificate.clone(),
            "certificate 1 is not an authority's",
        ),
        (|f| f.settings.client_bundle = f.write("x", ""), "client bundle"),
        (|f| f.settings.crls = vec![f.write("x", "hello")], "has no X509 CRL block"),
        (|f| f.settings.crls = vec![f.write("x", [0x30, 0x03, 0x01])], "revocation list"),
    ];
    for (break_it, expected) in cases {
        let mut files = Files::new();
        break_it(&mut files);
        let fault = files.fault();
        assert!(fault.contains(expected), "{fault} lacks {expected}");
    }
}

fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

fn other_key() -> String {
    Authority::new("other").issue(&Leaf::server()).key_pem()
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let mut files = Files::new();
    let authority = Authority::new("servers");
    for (from, to, expected) in [
        (START - 2 * HOUR, START - 1, "expired at 2025-12-31T23:59:59Z: put a new one"),
        (START + 1, START + HOUR, "is not valid before 2026-01-01T00:00:01Z: check this machine's clock"),
    ] {
        let server = authority.issue(&Leaf { from, to, ..Leaf::server() });
        files.settings.certificate = files.write("late.pem", server.pem());
        files.settings.key = files.write("late.key", server.key_pem());
        let fault = files.fault();
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn expired_authorities_are_left_out_and_only_they_are_a_fault() {
    let mut files = Files::new();
    let old = Authority::until("old", START - 1);
    files.settings.client_bundle = files.write("both.pem", old.pem() + &files.authority.pem());
    let material = files.load().unwrap();
    assert_eq!((material.summary().authorities, material.summary().expired_authorities), (1, 1));
    let peer = old.issue(&Leaf::spiffe("/a"));
    assert!(matches!(material.trust.verify(&peer.chain, at(START)), Err(Distrust::Untrusted(_))));

    files.settings.client_bundle = files.write("old.pem", old.pem());
    let fault = files.fault();
    assert!(fault.contains("only expired authorities, the last since 2025-12-31"), "{fault}");
}

#[test]
fn revocation_lists_that_mislead_are_refused() {
    let mut files = Files::new();
    files.with_crls(&[&files.authority.crl(&[1], START - 1)]);
    let fault = files.fault();
    assert!(fault.contains("was to be replaced by 2025-12-31"), "{fault}");
    files.settings.accept_stale_crls = true;
    assert!(files.load().is_ok());

    files.with_crls(&[&files.authority.crl(&[1], START + 1), &files.authority.crl(&[], START + 2)]);
    let fault = files.fault();
    assert!(fault.contains("has a second list of the issuer \"CN=clients"), "{fault}");
}

#[test]
fn every_fault_is_told_at_once() {
    let mut files = Files::new();
    files.settings.certificate = "/nowhere/a".into();
    files.settings.key = "/nowhere/b".into();
    files.settings.client_bundle = "/nowhere/c".into();
    files.settings.crls = vec!["/nowhere/d".into(), "/nowhere/e".into()];
    let fault = files.fault();
    for name in ["a", "b", "c", "d", "e"] {
        assert!(fault.contains(&format!("/nowhere/{name}: cannot be read")), "{fault}");
    }
}

#[test]
fn a_list_may_be_der() {
    let mut files = Files::new();
    let list = files.authority.crl(&[7], START + HOUR);
    let base64: String = list.lines().filter(|line| !line.starts_with('-')).collect();
    let der = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    files.settings.crls = vec![files.write("list.der", der)];
    let peer = files.authority.issue(&Leaf::spiffe("/a"));
    let material = files.load().unwrap();
    assert_eq!(material.trust.verify(&peer.chain, at(START)).unwrap_err(), Distrust::Revoked);
}

#[test]
fn a_peer_is_held_to_the_list_that_is_in_force() {
    let mut files = Files::new();
    let store = Store::new(files.load().unwrap());
    let peer = files.authority.issue(&Leaf::spiffe("/a"));
    let other = files.authority.issue(&Leaf { serial: 8, ..Leaf::spiffe("/b") });
    let (peer, other) = (files.guard(&store, &peer), files.guard(&store, &other));
    assert_eq!(peer.check(at(START)), Ok(()));

    files.with_crls(&[&files.authority.crl(&[7], START + HOUR)]);
    store.publish(files.load().unwrap());
    assert!(!other.is_settled(at(START)));
    assert_eq!(peer.check(at(START)), Err(Distrust::Revoked));
    assert_eq!(other.check(at(START)), Ok(()));
    assert!(other.is_settled(at(START)), "verified once, not on every request");

    // A revocation is not taken back for a connection that has met it.
    files.settings.crls.clear();
    store.publish(files.load().unwrap());
    assert_eq!(peer.check(at(START)), Err(Distrust::Revoked));
    assert_eq!(peer.check(at(START)).unwrap_err().reason(), "IDENTITY_REVOKED");
}

#[test]
fn a_list_past_its_time_lets_nobody_in() {
    let mut files = Files::new();
    files.with_crls(&[&files.authority.crl(&[], START + HOUR)]);
    let store = Store::new(files.load().unwrap());
    let guard = files.guard(&store, &files.authority.issue(&Leaf::spiffe("/a")));
    assert_eq!(guard.check(at(START + HOUR)), Ok(()));
    assert_eq!(guard.check(at(START + HOUR + 1)).unwrap_err().reason(), "IDENTITY_UNTRUSTED");
}

#[test]
fn a_certificate_that_no_list_covers_is_refused_when_lists_are_required() {
    let mut files = Files::new();
    files.with_crls(&[&Authority::new("someone else").crl(&[7], START + HOUR)]);
    let peer = files.authority.issue(&Leaf::spiffe("/a"));
    assert!(files.load().unwrap().trust.verify(&peer.chain, at(START)).is_ok());
    files.settings.require_crl = true;
    let refusal = files.load().unwrap().trust.verify(&peer.chain, at(START)).unwrap_err();
    assert_eq!(refusal.reason(), "IDENTITY_UNTRUSTED");
}

#[test]
fn expiry_anywhere_on_the_chain_is_noticed() {
    let files = Files::new();
    let store = Store::new(files.load().unwrap());
    let intermediate = files.authority.intermediate("between", START + HOUR);
    let leaf = files.guard(&store, &files.authority.issue(&Leaf { to: START + 10, ..Leaf::spiffe("/a") }));
    let under = files.guard(&store, &intermediate.issue(&Leaf::spiffe("/b")));
    assert_eq!(leaf.check(at(START + 10)), Ok(()));
    assert_eq!(leaf.check(at(START + 11)), Err(Distrust::Expired));
    assert_eq!(under.check(at(START + HOUR)), Ok(()));
    assert_eq!(under.check(at(START + HOUR + 1)), Err(Distrust::Expired));
}

#[test]
fn an_authority_that_leaves_the_bundle_takes_its_clients_along() {
    let mut files = Files::new();
    let store = Store::new(files.load().unwrap());
    let guard = files.guard(&store, &files.authority.issue(&Leaf::spiffe("/a")));
    files.settings.client_bundle = files.write("new.pem", Authority::new("new").pem());
    store.publish(files.load().unwrap());
    assert_eq!(store.generation(), 2);
    assert_eq!(guard.check(at(START)).unwrap_err().reason(), "IDENTITY_UNTRUSTED");
}

#[test]
fn a_chain_has_an_end() {
    let files = Files::new();
    let mut peer = files.authority.issue(&Leaf::spiffe("/a"));
    let trust = files.load().unwrap().trust;
    peer.chain.extend(std::iter::repeat_n(files.authority.der().clone(), 8));
    let refusal = trust.verify(&peer.chain, at(START)).unwrap_err();
    assert!(refusal.to_string().contains("longer than 8"), "{refusal}");
    assert!(trust.verify(&[], at(START)).is_err());
}
