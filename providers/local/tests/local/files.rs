//! What is in the directory, and what files alone can do wrong.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{ErrorClass, Fetch, Stage, WriteVersion},
};
use leasehold_provider_local::{LocalConfig, OpenError};
use leasehold_seal::{KeyRing, SystemEntropy};

use crate::kit::{Local, SetClock, open};

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let local = Local::new();
    let first = local.write("a/b", "one").await;
    let second = local.stage("a/b", "two", "t2", Stage::Current).await.unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a/b", None).await.unwrap(), "two");
    assert_eq!(local.read("a/b", Some(&first)).await.unwrap(), "one");
    assert_eq!(local.stage("a/b", "two", "t2", Stage::Current).await.unwrap(), second);
}

#[tokio::test]
async fn the_history_is_bounded_and_numbers_go_on() {
    let local = Local::with(|config| config.history = 3);
    let mut versions = Vec::new();
    for round in 0..7 {
        versions.push(local.write("a", &round.to_string()).await);
    }
    assert_eq!(fs::read_dir(local.folder("a")).unwrap().count(), 3);
    assert_eq!(local.read("a", Some(&versions[4])).await.unwrap(), "4");
    assert_eq!(local.read("a", Some(&versions[3])).await.unwrap_err().class, ErrorClass::Absent);
    assert!(versions[6].as_str().starts_with("v7-"), "{}", versions[6]);
}

#[tokio::test]
async fn nothing_is_in_clear_and_nobody_else_can_read_it() {
    let local = Local::new();
    let version = local.write("prod/db", "canary-91c2").await;
    let mut modes = vec![];
    let mut look = vec![local.config.directory.clone()];
    while let Some(path) = look.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        modes.push((meta.permissions().mode() & 0o7777, meta.is_dir()));
        if meta.is_dir() {
            look.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = fs::read(&path).unwrap();
            for clear in [b"canary-91c2".as_slice(), data_encoding::BASE64.encode(b"canary-91c2").as_bytes()]
            {
                assert!(!bytes.windows(clear.len()).any(|window| window == clear), "{}", path.display());
            }
        }
    }
    assert!(local.file("prod/db", version.as_str()).is_file());
    assert!(
        modes.iter().all(|(mode, directory)| *mode == if *directory { 0o700 } else { 0o600 }),
        "{modes:?}"
    );
}

#[tokio::test]
async fn a_version_in_anothers_place_does_not_open() {
    let local = Local::new();
    let mine = local.write("mine", "mine").await;
    let theirs = local.write("theirs", "theirs").await;
    fs::copy(local.file("mine", mine.as_str()), local.file("theirs", theirs.as_str())).unwrap();
    assert_eq!(local.read("theirs", None).await.unwrap_err().class, ErrorClass::Permanent);
    let newer = local.folder("mine").join("v2-aaaaaaaa");
    fs::copy(local.file("mine", mine.as_str()), &newer).unwrap();
    assert_eq!(local.read("mine", None).await.unwrap_err().class, ErrorClass::Permanent);
}

#[tokio::test]
async fn a_file_that_cannot_be_trusted_is_refused_and_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 7] = [
        ("cut", |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap()),
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("exposed", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap()),
        ("huge", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap()),
        ("linked", |path| {
            let away = path.with_file_name("away");
            fs::rename(path, &away).unwrap();
            symlink(&away, path).unwrap();
        }),
        ("replaced", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    let local = Local::new();
    for (name, damage) in cases {
        let version = local.write(name, "value").await;
        let file = local.file(name, version.as_str());
        damage(&file);
        let error = local.read(name, None).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent, "{name}: {error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{name}: {error}");
        local.write(name, "mended").await;
        assert_eq!(local.read(name, None).await.unwrap(), "mended", "{name}");
    }
}

#[tokio::test]
async fn another_key_ring_is_said_to_be_the_wrong_one() {
    let local = Local::new();
    local.write("a", "value").await;
    let Local { provider, config, home: _home, .. } = local;
    drop(provider);
    let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
    let other = open(&config, &keys, &SetClock::new()).unwrap();
    let read = other.fetch(Fetch { reference: "a", version: None }).await.unwrap_err();
    let value = SecretValue::plain("another".to_owned());
    let write =
        WriteVersion { reference: "a", value: &value, token: "t2", expected: None, stage: Stage::Current };
    for error in [read, other.write(write).await.unwrap_err()] {
        assert_eq!(error.class, ErrorClass::Permanent);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("not in the key ring"), "{cause}");
    }
}

#[tokio::test]
async fn two_versions_of_one_number_are_not_chosen_between() {
    let local = Local::new();
    let version = local.write("a", "value").await;
    fs::copy(local.file("a", version.as_str()), local.folder("a").join("v1-aaaaaaaa")).unwrap();
    let error = local.read("a", None).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("two versions numbered 1"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_is_no_version_and_is_no_obstacle() {
    let local = Local::new();
    local.write("a", "one").await;
    fs::write(local.folder("a").join(".new"), b"half a ver").unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    local.write("a", "two").await;
    assert_eq!(local.read("a", None).await.unwrap(), "two");
    assert!(!local.folder("a").join(".new").exists());
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing() {
    let local = Local::new();
    local.write("a", "one").await;
    // A directory in the way of the new file: removing it as a file fails, whoever runs this.
    fs::create_dir(local.folder("a").join(".new")).unwrap();
    let error = local.stage("a", "two", "t2", Stage::Current).await.unwrap_err();
    assert!(error.class.is_retryable() || error.class == ErrorClass::Denied, "{error}");
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    fs::remove_dir(local.folder("a").join(".new")).unwrap();
    local.write("a", "two").await;
    assert_eq!(local.read("a", None).await.unwrap(), "two");
}

#[test]
fn a_directory_that_is_not_safe_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
    let clock = SetClock::new();
    let config = LocalConfig::new(home.path().join("local"));

    let held = open(&config, &keys, &clock).unwrap();
    assert!(matches!(open(&config, &keys, &clock), Err(OpenError::InUse { .. })));
    drop(held);
    drop(open(&config, &keys, &clock).unwrap());

    fs::set_permissions(&config.directory, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(open(&config, &keys, &clock), Err(OpenError::Exposed { mode: 0o750, .. })));

    let link = LocalConfig::new(home.path().join("link"));
    symlink(&config.directory, &link.directory).unwrap();
    assert!(matches!(open(&link, &keys, &clock), Err(OpenError::NotADirectory { .. })));

    let orphan = LocalConfig::new(home.path().join("no/parent"));
    assert!(matches!(open(&orphan, &keys, &clock), Err(OpenError::Io { action: "create", .. })));

    let none = LocalConfig { history: 0, ..LocalConfig::new(home.path().join("none")) };
    assert!(matches!(open(&none, &keys, &clock), Err(OpenError::NoHistory)));
}
