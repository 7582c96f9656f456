//! Sealed bundles: there and back, and every way in which one can be wrong.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use leasehold_core::provider::{Change, ErrorClass, Stage, VersionState};
use leasehold_provider_local::{Bundle, BundleError, Moved};
use leasehold_seal::{KeyRing, SystemEntropy};

use crate::kit::Local;

fn key() -> KeyRing {
    KeyRing::generate(&SystemEntropy).unwrap()
}

fn export(local: &Local, key: &KeyRing) -> (PathBuf, Moved) {
    let path = local.home.path().join("bundle");
    let moved = local.provider.export(&Bundle { path: &path, key }, &SystemEntropy).unwrap();
    (path, moved)
}

fn import(local: &Local, path: &Path, key: &KeyRing, replace: bool) -> Result<Moved, BundleError> {
    local.provider.import(&Bundle { path, key }, replace)
}

/// Secrets in every state.
async fn full() -> Local {
    let local = Local::new();
    local.write("plain", "canary-77aa").await;
    let (one, two) = (local.write("team/db", "one").await, local.write("team/db", "two").await);
    local.stage("team/db", "three", "t-p", Stage::Pending).await.unwrap();
    local.change("team/db", Some(&one), Change::Promote).await.unwrap();
    local.change("team/db", Some(&two), Change::Disable).await.unwrap();
    let old = local.write("team/db/deep", "old").await;
    local.write("team/db/deep", "new").await;
    local.change("team/db/deep", Some(&old), Change::Destroy).await.unwrap();
    local.write("gone", "for now").await;
    local.change("gone", None, Change::Delete).await.unwrap();
    local
}

#[tokio::test]
async fn everything_arrives_as_it_was() {
    let (from, key) = (full().await, key());
    let (path, moved) = export(&from, &key);
    assert_eq!(moved, Moved { secrets: 4, versions: 6, unchanged: 0 });
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&path).unwrap();
    for clear in
        ["canary-77aa".to_owned(), data_encoding::BASE64.encode(b"canary-77aa"), "team/db".to_owned()]
    {
        assert!(!bytes.windows(clear.len()).any(|window| window == clear.as_bytes()), "{clear} is in clear");
    }

    let to = Local::new();
    assert_eq!(import(&to, &path, &key, false).unwrap(), moved);
    assert_eq!(to.read("plain", None).await.unwrap(), "canary-77aa");
    assert_eq!(to.read("team/db", None).await.unwrap(), "one");
    for name in ["plain", "team/db", "team/db/deep", "gone"] {
        assert_eq!(to.versions(name).await, from.versions(name).await, "{name}");
    }
    assert_eq!(to.read("gone", None).await.unwrap_err().class, ErrorClass::Absent);
    to.change("gone", None, Change::Restore).await.unwrap();
    assert_eq!(to.read("gone", None).await.unwrap(), "for now");
    let destroyed = to.versions("team/db/deep").await.pop().unwrap();
    assert_eq!(destroyed.state, VersionState::Destroyed);
    // It goes on from there.
    let next = to.write("team/db", "four").await;
    assert!(next.as_str().starts_with("v4-"), "{next}");
    let to = to.reopened();
    assert_eq!(to.read("team/db", None).await.unwrap(), "four");
}

#[tokio::test]
async fn importing_twice_changes_nothing_and_replacing_is_asked_for() {
    let (from, key) = (full().await, key());
    let (path, _) = export(&from, &key);
    let to = Local::new();
    import(&to, &path, &key, false).unwrap();
    let again = import(&to, &path, &key, false).unwrap();
    assert_eq!(again, Moved { secrets: 0, versions: 0, unchanged: 4 });

    to.write("plain", "mine").await;
    to.write("other", "untouched").await;
    let error = import(&to, &path, &key, false).unwrap_err();
    assert!(matches!(&error, BundleError::Exists { names } if names == &["plain"]), "{error}");
    assert!(error.to_string().contains("--replace"), "{error}");
    assert_eq!(to.read("plain", None).await.unwrap(), "mine");
    let replaced = import(&to, &path, &key, true).unwrap();
    assert_eq!(replaced, Moved { secrets: 1, versions: 1, unchanged: 3 });
    assert_eq!(to.read("plain", None).await.unwrap(), "canary-77aa");
    assert_eq!(to.versions("plain").await.len(), 1);
    assert_eq!(to.read("other", None).await.unwrap(), "untouched");
}

#[tokio::test]
async fn what_a_crash_left_of_an_import_is_no_obstacle() {
    let (from, key) = (full().await, key());
    let (path, moved) = export(&from, &key);
    let to = Local::new();
    // Half a secret beside its place, as a broker that died has left it.
    let arriving = to.folder("team/db").with_file_name("@new");
    let mut folders = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(folders.recursive(true), 0o700).create(&arriving).unwrap();
    crate::kit::put_private(&arriving.join("v1-aaaaaaaa"), b"half of it");
    let to = to.reopened();
    assert_eq!(to.read("team/db", None).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(import(&to, &path, &key, false).unwrap(), moved);
    assert_eq!(to.versions("team/db").await, from.versions("team/db").await);
    assert!(!arriving.exists());
}

#[tokio::test]
async fn another_key_does_not_open_it() {
    let (from, key) = (full().await, key());
    let (path, _) = export(&from, &key);
    let to = Local::new();
    let other = KeyRing::generate(&SystemEntropy).unwrap();
    let error = import(&to, &path, &other, true).unwrap_err();
    assert!(matches!(error, BundleError::WrongKey { .. }), "{error}");
    assert_eq!(to.read("plain", None).await.unwrap_err().class, ErrorClass::Absent);
}

/// The places at which the frames begin, the end among them.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![25 + 16];
    while let Some(length) = bytes.get(*starts.last().unwrap()..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        starts.push(starts.last().unwrap() + 4 + length);
    }
    starts
}

#[tokio::test]
async fn every_kind_of_damage_is_found_before_anything_is_written() {
    let (from, key) = (full().await, key());
    let (path, _) = export(&from, &key);
    let good = fs::read(&path).unwrap();
    let starts = frames(&good);
    assert_eq!(starts.len(), 12, "4 secrets, 6 versions and the end: {starts:?}");
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    for at in 25..good.len() {
        if at < 64 || at % 37 == 0 {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            bad.push((format!("flipped at {at}"), flipped));
        }
    }
    for (index, &start) in starts.iter().enumerate().take(11) {
        bad.push((format!("cut before frame {index}"), good[..start].to_vec()));
        bad.push((format!("cut in frame {index}"), good[..start + 3].to_vec()));
        let without = [&good[..start], &good[starts[index + 1]..]].concat();
        bad.push((format!("without frame {index}"), without));
    }
    let swapped =
        [&good[..starts[1]], &good[starts[2]..starts[3]], &good[starts[1]..starts[2]], &good[starts[3]..]];
    bad.push(("swapped".to_owned(), swapped.concat()));
    bad.push(("with more behind it".to_owned(), [&good[..], &good[starts[10]..]].concat()));
    let (other, _) = {
        fs::remove_file(&path).unwrap();
        export(&from, &key)
    };
    let other = fs::read(other).unwrap();
    let mixed = [&good[..starts[1]], &other[starts[1]..]].concat();
    bad.push(("of two bundles".to_owned(), mixed));
    let mut long = good.clone();
    long[starts[0]] = 0xff;
    bad.push(("with a frame of 4 GiB".to_owned(), long));

    let to = Local::new();
    let broken = to.home.path().join("broken");
    for (what, bytes) in bad {
        fs::write(&broken, bytes).unwrap();
        let error = import(&to, &broken, &key, true).unwrap_err();
        let found = matches!(error, BundleError::Damaged { .. } | BundleError::WrongKey { .. });
        assert!(found, "{what}: {error}");
        assert!(!to.folder("plain").exists() && !to.folder("gone").exists(), "{what}");
    }
    for (what, bytes) in [
        ("empty", b"".as_slice()),
        ("a text", b"hello\n"),
        ("of another form", b"leasehold-local-bundle/2\n0123456789abcdef"),
    ] {
        fs::write(&broken, bytes).unwrap();
        let error = import(&to, &broken, &key, true).unwrap_err();
        assert!(matches!(error, BundleError::NotABundle { .. }), "{what}: {error}");
    }
}

#[tokio::test]
async fn an_empty_directory_makes_a_bundle_too() {
    let (from, to, key) = (Local::new(), Local::new(), key());
    let (path, moved) = export(&from, &key);
    assert_eq!(moved, Moved::default());
    assert_eq!(import(&to, &path, &key, false).unwrap(), Moved::default());
}

#[tokio::test]
async fn a_bundle_replaces_no_file_and_a_failed_export_leaves_none() {
    let (from, key) = (full().await, key());
    let (path, _) = export(&from, &key);
    let before = fs::read(&path).unwrap();
    let again = from.provider.export(&Bundle { path: &path, key: &key }, &SystemEntropy).unwrap_err();
    assert!(matches!(again, BundleError::FileExists { .. }), "{again}");
    assert_eq!(fs::read(&path).unwrap(), before);

    let version = from.versions("plain").await[0].version.clone();
    crate::kit::put_private(&from.file("plain", version.as_str()), b"damaged");
    let second = from.home.path().join("second");
    let error = from.provider.export(&Bundle { path: &second, key: &key }, &SystemEntropy).unwrap_err();
    assert!(matches!(&error, BundleError::Secret { name, .. } if name == "plain"), "{error}");
    assert!(!second.exists());
}

#[tokio::test]
async fn a_value_that_is_too_large_here_is_refused_before_anything_is_written() {
    let (from, key) = (Local::new(), key());
    from.write("a", "small").await;
    from.write("b", &"x".repeat(2000)).await;
    let (path, _) = export(&from, &key);
    let to = Local::with(|config| config.max_value_bytes = 1000);
    let error = import(&to, &path, &key, false).unwrap_err();
    assert!(matches!(&error, BundleError::Secret { name, .. } if name == "b"), "{error}");
    assert!(!to.folder("a").exists());
}
