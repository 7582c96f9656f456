//! Segments that are packed and archived behind the commits, and what a start makes of that.

use std::{collections::BTreeMap, fs, time::Duration};

use super::*;

fn home() -> Home {
    let home = Home::new();
    let rule =
        ArchiveRule { directory: home.path("archive"), after_age: Duration::from_secs(3600), after_bytes: 0 };
    Home {
        limits: Limits { bytes: 1, records: 1 },
        snapshot_records: 40,
        segment_bytes: 4096,
        closed: ClosedSegments { pack: true, archive: Some(rule) },
        ..home
    }
}

/// Commits until so many segments were archived.
async fn fill(ledger: &Embedded, archived: u64) {
    for n in 0..20_000 {
        ledger
            .commit(commit(vec![], vec![put(&format!("k/{:03}", n % 200), &format!("{n}"))]))
            .await
            .unwrap();
        if ledger.stats().archived >= archived {
            return;
        }
    }
    panic!("nothing was archived");
}

#[tokio::test]
async fn what_a_snapshot_has_is_archived_and_the_journal_says_where() {
    let mut home = home();
    let (ledger, _) = home.open();
    fill(&ledger, 3).await;
    ledger.close().await;
    let before = all(&ledger).await;
    drop(ledger);
    let report = leasehold_audit::verify(&home.path("journal")).unwrap();
    assert!(report.is_whole() && report.first == 1, "{report:?}");
    let mut told = BTreeMap::new();
    for entry in leasehold_audit::read(&home.path("journal"), 0).unwrap() {
        let record = entry.unwrap().record;
        if record.kind == Kind::JournalArchived {
            told.insert(record.details["file"].clone(), record.details["sha256"].clone());
        }
    }
    let mut archived = 0;
    for entry in fs::read_dir(home.path("archive")).unwrap() {
        let path = entry.unwrap().path();
        let live = home.path("journal").join(path.file_name().unwrap());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &fs::read(&path).unwrap());
        let digest = data_encoding::HEXLOWER.encode(digest.as_ref());
        match told.get(path.to_str().unwrap()) {
            Some(said) => assert_eq!((said, live.exists()), (&digest, false)),
            // The ledger was closed before it could be said: then it stays, too.
            None => assert!(live.exists(), "{path:?} is nowhere else"),
        }
        archived += 1;
    }
    assert!(archived >= 3, "{archived}");

    // The live state needs no more than the last snapshot and what follows.
    home.closed = ClosedSegments::default();
    fs::rename(home.path("archive"), home.path("elsewhere")).unwrap();
    fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert!(recovery.snapshot.is_some(), "{recovery}");
    assert_eq!(all(&ledger).await, before);
    drop(ledger);
    // And with no snapshot, the archive has everything.
    fs::rename(home.path("elsewhere"), home.path("archive")).unwrap();
    fs::remove_dir_all(home.path("index")).unwrap();
    fs::remove_dir_all(home.path("snapshots")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!(recovery.snapshot, None, "{recovery}");
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn what_no_snapshot_has_stays() {
    let home = Home { snapshot_records: 1_000_000, ..home() };
    let (ledger, _) = home.open();
    for n in 0..200 {
        ledger.commit(commit(vec![], vec![put(&format!("k/{n}"), "v")])).await.unwrap();
    }
    assert!(ledger.stats().segments > 5);
    // A look that has nothing to do ends before the ledger is closed.
    ledger.close().await;
    drop(ledger);
    let names = fs::read_dir(home.path("journal")).unwrap().map(|entry| entry.unwrap().path());
    let live = names.filter(|path| path.extension().is_some_and(|end| end == "log")).count();
    assert!(live > 5, "{live}");
}

#[tokio::test]
async fn young_segments_stay_until_they_take_too_much() {
    const ROOM: u64 = 16 * 4096;
    let mut home = home();
    if let Some(rule) = &mut home.closed.archive {
        rule.after_bytes = ROOM;
    }
    let (ledger, _) = home.open();
    fill(&ledger, 1).await;
    ledger.close().await;
    drop(ledger);
    // Only while they took more than that was one taken away, and none is longer than 4096 bytes.
    let names = fs::read_dir(home.path("journal")).unwrap().map(|entry| entry.unwrap().path());
    let segments = names.filter(|path| path.extension().is_some_and(|end| end == "zst" || end == "log"));
    let bytes: u64 = segments.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes > ROOM - 4096, "{bytes}");
}

#[tokio::test]
async fn a_crash_between_copy_and_removal_is_made_good() {
    let home = home();
    let (ledger, _) = home.open();
    fill(&ledger, 1).await;
    ledger.close().await;
    drop(ledger);
    let archived = fs::read_dir(home.path("archive")).unwrap().next().unwrap().unwrap().path();
    let back = home.path("journal").join(archived.file_name().unwrap());
    fs::copy(&archived, &back).unwrap();
    let (ledger, _) = home.open();
    fill(&ledger, 1).await;
    ledger.close().await;
    assert!(!back.exists() && archived.exists());
    assert!(leasehold_audit::verify(&home.path("journal")).unwrap().is_whole());
}
