//! The cache as a whole: written, read again, and refused.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use leasehold_core::{LeaseId, SecretValue, Timestamp};

use super::*;
use crate::{
    endpoint::testing::{Frozen, loan, snapshot},
    snapshot::Standing,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

struct Scene {
    _dir: tempfile::TempDir,
    settings: Cache,
    key: PathBuf,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    write_key(&key, "canary-0123456789");
    let file = dir.path().join("cache");
    Scene { settings: Cache { enabled: true, file, key: KeySource::File(key.clone()) }, key, _dir: dir }
}

fn write_key(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn edition() -> Arc<Edition> {
    let text = "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'db'\npath = 'prod/db'\n\
                [[secret]]\nname = 'key'\npath = 'prod/key'\n";
    let config = config::Config::parse(&leasehold_config::Source::new("s.toml", text)).unwrap();
    Arc::new(Edition::new(0, config).unwrap())
}

fn wanted() -> Vec<config::Secret> {
    edition().config.secrets.clone()
}

/// Keeps snapshots at a time, in the background.
fn keeping(
    scene: &Scene,
    now: i64,
    snapshot: Snapshot,
) -> (watch::Sender<Arc<Snapshot>>, tokio::task::JoinHandle<Infallible>) {
    let (sender, receiver) = watch::channel(Arc::new(snapshot));
    let (settings, in_force) = (scene.settings.clone(), watch::channel(edition()).1);
    let kept = keep(settings, in_force, receiver, Arc::new(Frozen(at(now))));
    (sender, tokio::spawn(kept))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn loaded(scene: &Scene, now: i64) -> Vec<(String, Timestamp, Standing)> {
    let snapshot = load(&scene.settings, &wanted(), &Frozen(at(now)));
    let each = snapshot.secrets.iter().map(|(name, loan)| (name.to_string(), loan.expires_at, loan.standing));
    each.collect()
}

#[tokio::test]
async fn what_is_held_carries_a_restart_until_it_ends() {
    let scene = scene();
    assert!(loaded(&scene, 100).is_empty());
    let (sender, task) = keeping(&scene, 100, snapshot(&[("db", loan(200)), ("over", loan(100))]));
    until("it is kept", || scene.settings.file.exists()).await;
    let text = fs::read(&scene.settings.file).unwrap();
    assert!(!text.windows(6).any(|bytes| bytes == b"canary"), "it is in clear");
    let (name, end, standing) = loaded(&scene, 100).remove(0);
    assert_eq!((name.as_str(), standing), ("db", Standing::Failing));
    // The clock of this test stands, and the machine's does not.
    assert!((at(190)..=at(200)).contains(&end), "{end}");

    let snapshot = load(&scene.settings, &wanted(), &Frozen(at(100)));
    let kept = &snapshot.secrets["db"];
    assert_eq!((kept.lease, kept.version.as_ref().unwrap().as_str()), (LeaseId::from_bits([7; 16]), "v1"));
    let field = kept.value().fields.values().next().unwrap();
    assert_eq!(field.expose(), b"canary-7b1e");
    // Its end is its end, and a clock that is behind by then brings no second more.
    assert!(loaded(&scene, 200).is_empty() && loaded(&scene, 201).is_empty());
    let set_back = loaded(&scene, 40);
    assert!(set_back.len() == 1 && set_back[0].1 <= at(140), "{set_back:?}");

    // Nothing held is nothing kept.
    let mut nothing = Snapshot::default();
    let trouble = crate::snapshot::Trouble { message: "away".into(), since: at(1) };
    nothing.troubles.insert("db".parse().unwrap(), trouble);
    sender.send_replace(Arc::new(nothing));
    until("it is gone", || !scene.settings.file.exists()).await;
    task.abort();
}

#[tokio::test]
async fn what_is_asked_for_in_another_way_is_not_taken_from_it() {
    let scene = scene();
    let (_sender, task) = keeping(&scene, 100, snapshot(&[("db", loan(200))]));
    until("it is kept", || scene.settings.file.exists()).await;
    task.abort();
    let mut other = wanted();
    other[0].fields = vec!["value".parse().unwrap()];
    assert!(load(&scene.settings, &other, &Frozen(at(100))).secrets.is_empty());
    other[0] = config::Secret { path: "prod/other".parse().unwrap(), ..wanted().remove(0) };
    assert!(load(&scene.settings, &other, &Frozen(at(100))).secrets.is_empty());
}

#[tokio::test]
async fn another_key_opens_nothing_and_the_cache_moves_to_it() {
    let scene = scene();
    let (sender, task) = keeping(&scene, 100, snapshot(&[("db", loan(200))]));
    until("it is kept", || scene.settings.file.exists()).await;
    let before = fs::read(&scene.settings.file).unwrap();
    fs::remove_file(&scene.key).unwrap();
    write_key(&scene.key, "another-0123456789");
    assert!(loaded(&scene, 100).is_empty());
    sender.send_modify(|_| ());
    until("it is sealed anew", || fs::read(&scene.settings.file).is_ok_and(|now| now != before)).await;
    assert_eq!(loaded(&scene, 100).len(), 1);
    task.abort();
    // A changed byte is as good as no cache.
    let mut damaged = fs::read(&scene.settings.file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&scene.settings.file, damaged).unwrap();
    assert!(loaded(&scene, 100).is_empty());
}

#[tokio::test]
async fn switched_off_it_is_removed() {
    let mut scene = scene();
    let (_sender, task) = keeping(&scene, 100, snapshot(&[("db", loan(200))]));
    until("it is kept", || scene.settings.file.exists()).await;
    task.abort();
    scene.settings.enabled = false;
    assert!(loaded(&scene, 100).is_empty());
    assert!(!scene.settings.file.exists());
}

#[test]
fn a_value_is_never_shown() {
    let entry = Entry {
        name: "db".parse().unwrap(),
        path: "prod/db".parse().unwrap(),
        fields: Vec::new(),
        lease: LeaseId::from_bits([7; 16]),
        version: None,
        expires_at: at(1),
        value: SecretValue::plain("canary-7b1e".to_owned()),
    };
    assert!(!format!("{entry:?}").contains("canary"));
}
