//! What a restart finds, and what it makes of it.

use super::*;

async fn fill(ledger: &Embedded, from: u64, to: u64) {
    for n in from..to {
        let writes = vec![put(&format!("k/{:02}", n % 50), &format!("value {n}")), Write::mark(key("m"))];
        ledger.commit(commit(vec![], writes)).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_ledger_is_nothing_special() {
    let home = Home::new();
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.head.seq, recovery.clean, recovery.replayed), (0, true, 0));
    assert_eq!((&recovery.rebuilt, recovery.last_time), (&None, None));
    assert_eq!(recovery.to_string(), "the journal ends at record 0, closed in order; 0 records read");
    assert!(all(&ledger).await.is_empty());
}

#[tokio::test]
async fn after_a_kill_the_journal_gives_back_what_was_in_memory() {
    let home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 60).await;
    let before = all(&ledger).await;
    drop(ledger);
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.head.seq, recovery.clean, recovery.replayed), (60, false, 60));
    assert_eq!(recovery.rebuilt, None);
    assert_eq!(recovery.last_time, Some(Timestamp::UNIX_EPOCH));
    assert_eq!(all(&ledger).await, before);
    assert_eq!(ledger.commit(commit(vec![], vec![])).await, Ok(61));
}

#[tokio::test]
async fn after_a_close_nothing_is_read_even_after_a_reboot() {
    let mut home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 60).await;
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    home.boot_id = "boot-2".to_owned();
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.clean, recovery.replayed, &recovery.rebuilt), (true, 0, &None));
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn after_the_machine_went_down_the_index_is_made_anew() {
    let mut home = Home { limits: Limits { bytes: 1, records: 1 }, ..Home::new() };
    let (ledger, _) = home.open();
    fill(&ledger, 0, 60).await;
    let before = all(&ledger).await;
    drop(ledger);
    home.boot_id = "boot-2".to_owned();
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.clean, recovery.replayed, recovery.snapshot), (false, 60, None));
    assert_eq!(recovery.rebuilt.as_deref(), Some("the machine went down while it was open"));
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn a_deleted_index_is_made_anew() {
    let home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 30).await;
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    std::fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.replayed, recovery.rebuilt.as_deref()), (30, Some("there was none")));
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn damage_to_the_index_is_healed() {
    let home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 30).await;
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    let run = std::fs::read_dir(home.path("index/runs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&run).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&run, bytes).unwrap();
    let (ledger, recovery) = home.open();
    assert!(recovery.rebuilt.as_ref().unwrap().contains("is damaged"), "{recovery}");
    assert_eq!(all(&ledger).await, before);
    ledger.close().await;
    drop(ledger);
    std::fs::remove_dir_all(home.path("index/runs")).unwrap();
    let (ledger, recovery) = home.open();
    assert!(recovery.rebuilt.as_ref().unwrap().contains("cannot be opened"), "{recovery}");
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn an_index_of_another_day_is_brought_up_to_date() {
    let home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 20).await;
    ledger.close().await;
    drop(ledger);
    copy_dir(&home.path("index"), &home.path("old"));
    let (ledger, _) = home.open();
    fill(&ledger, 20, 60).await;
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    replace_dir(&home.path("old"), &home.path("index"));
    let (ledger, recovery) = home.open();
    assert_eq!((recovery.replayed, &recovery.rebuilt), (40, &None));
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn an_index_of_another_journal_is_thrown_away() {
    let home = Home::new();
    let other = Home { keys: Arc::clone(&home.keys), ..Home::new() };
    for (home, from) in [(&home, 0), (&other, 10)] {
        let (ledger, _) = home.open();
        fill(&ledger, from, from + 20).await;
        ledger.close().await;
    }
    replace_dir(&other.path("index"), &home.path("index"));
    let (ledger, recovery) = home.open();
    assert!(
        recovery.rebuilt.as_ref().unwrap().contains("from another journal: record 20 differs"),
        "{recovery}"
    );
    assert_eq!(all(&ledger).await[0].1, b"value 0");
}

#[tokio::test]
async fn a_journal_that_lost_its_end_is_refused_until_somebody_accepts_it() {
    let home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 20).await;
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    copy_dir(&home.path("journal"), &home.path("old"));
    let (ledger, _) = home.open();
    fill(&ledger, 20, 25).await;
    ledger.close().await;
    drop(ledger);
    replace_dir(&home.path("old"), &home.path("journal"));
    let refused = home.try_open().err().unwrap();
    assert!(matches!(refused, OpenError::Cut { ends_at: 20, applied: 25, .. }), "{refused}");
    assert!(refused.to_string().contains("move") && refused.to_string().contains("index away"), "{refused}");
    std::fs::rename(home.path("index"), home.path("moved")).unwrap();
    assert_eq!(all(&home.open().0).await, before);
}

#[tokio::test]
async fn keys_that_do_not_fit_are_said_to_be_missing() {
    let mut home = Home::new();
    let (ledger, _) = home.open();
    fill(&ledger, 0, 5).await;
    ledger.close().await;
    drop(ledger);
    let right = std::mem::replace(&mut home.keys, Arc::new(KeyRing::generate(&SystemEntropy).unwrap()));
    for _ in 0..2 {
        let refused = home.try_open().err().unwrap();
        assert!(matches!(refused, OpenError::Key { .. }), "{refused}");
        let _ = std::fs::remove_dir_all(home.path("index"));
    }
    home.keys = right;
    assert_eq!(all(&home.open().0).await.len(), 6);
}

#[tokio::test]
async fn an_archived_beginning_is_no_loss_while_a_snapshot_reaches_it() {
    let home = Home {
        limits: Limits { bytes: 1, records: 1 },
        snapshot_records: 40,
        segment_bytes: 4096,
        ..Home::new()
    };
    let (ledger, _) = home.open();
    for n in 0.. {
        fill(&ledger, n, n + 1).await;
        if ledger.stats().snapshots > 0 && ledger.stats().segments > 2 {
            break;
        }
        assert!(n < 10_000, "no snapshot was written");
    }
    let before = all(&ledger).await;
    drop(ledger);
    let snapshots = std::fs::read_dir(home.path("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let snapshot = snapshots.max().unwrap();
    let as_of: u64 = snapshot.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut segments: Vec<_> =
        std::fs::read_dir(home.path("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let first =
        |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap_or(u64::MAX);
    let archived =
        segments.windows(2).filter(|pair| first(&pair[1]) <= as_of + 1).map(|pair| pair[0].clone());
    let archived: Vec<_> = archived.collect();
    assert!(!archived.is_empty(), "{segments:?} {as_of}");
    for segment in &archived {
        std::fs::remove_file(segment).unwrap();
    }

    std::fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!(recovery.snapshot, Some(as_of), "{recovery}");
    assert_eq!(all(&ledger).await, before);
    drop(ledger);

    // A rebuild that was killed before it had a manifest left an index that looks new and may be trusted.
    std::fs::remove_dir_all(home.path("index/catalogue")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!(recovery.snapshot, Some(as_of), "{recovery}");
    assert_eq!(all(&ledger).await, before);
    drop(ledger);

    std::fs::remove_dir_all(home.path("snapshots")).unwrap();
    std::fs::remove_dir_all(home.path("index")).unwrap();
    let refused = home.try_open().err().unwrap();
    assert!(matches!(refused, OpenError::NoStart { first, .. } if first > 1), "{refused}");
}

#[tokio::test]
async fn a_rebuild_begins_with_the_newest_snapshot_that_is_whole() {
    let home = Home { limits: Limits { bytes: 1, records: 1 }, snapshot_records: 60, ..Home::new() };
    let (ledger, _) = home.open();
    let mut written = 0;
    for n in 0.. {
        fill(&ledger, n, n + 1).await;
        written = ledger.stats().snapshots;
        if written == 3 {
            break;
        }
        assert!(n < 100_000, "no snapshot was written");
    }
    let before = all(&ledger).await;
    ledger.close().await;
    let head = ledger.stats().head;
    drop(ledger);
    let mut snapshots: Vec<_> =
        std::fs::read_dir(home.path("snapshots")).unwrap().map(|e| e.unwrap().path()).collect();
    snapshots.sort();
    assert_eq!((written, snapshots.len()), (3, 2));
    let as_of = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();

    std::fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!(recovery.snapshot, Some(as_of(&snapshots[1])), "{recovery}");
    assert_eq!(recovery.replayed, head - as_of(&snapshots[1]));
    assert_eq!(all(&ledger).await, before);
    drop(ledger);

    let mut bytes = std::fs::read(&snapshots[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshots[1], bytes).unwrap();
    std::fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert_eq!(recovery.snapshot, Some(as_of(&snapshots[0])), "{recovery}");
    assert_eq!(recovery.rejected_snapshots.len(), 1);
    assert_eq!(all(&ledger).await, before);
    drop(ledger);

    // One snapshot under the other's name: its seal holds, but it is not what was recorded under that name.
    std::fs::copy(&snapshots[0], &snapshots[1]).unwrap();
    std::fs::remove_dir_all(home.path("index")).unwrap();
    let (ledger, recovery) = home.open();
    assert!(recovery.rejected_snapshots[0].contains("not what was recorded"), "{recovery}");
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn a_rebuild_that_was_cut_short_starts_again_from_the_snapshot() {
    let home = Home {
        limits: Limits { bytes: 1, records: 1 },
        segment_bytes: 4096,
        snapshot_records: 60,
        ..Home::new()
    };
    let (ledger, _) = home.open();
    ledger.commit(commit(vec![], vec![put("first", "1")])).await.unwrap();
    for n in 0.. {
        fill(&ledger, n, n + 1).await;
        if ledger.stats().snapshots > 0 {
            break;
        }
        assert!(n < 100_000, "no snapshot was written");
    }
    let before = all(&ledger).await;
    ledger.close().await;
    drop(ledger);
    // The oldest segment was archived; the snapshot knows what was in it.
    let oldest = std::fs::read_dir(home.path("journal")).unwrap().map(|entry| entry.unwrap().path()).min();
    std::fs::remove_file(oldest.unwrap()).unwrap();
    // The process ended right after it had begun to make the index anew.
    std::fs::remove_dir_all(home.path("index")).unwrap();
    std::fs::create_dir(home.path("index")).unwrap();
    marker::Marker::new(&home.path("index"), &home.boot_id).set_open().unwrap();
    let (ledger, recovery) = home.open();
    assert!(recovery.snapshot.is_some(), "{recovery}");
    assert_eq!(all(&ledger).await, before);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_finished_takes_no_room() {
    let home = Home { limits: Limits { bytes: 1, records: 1 }, snapshot_records: 60, ..Home::new() };
    let (ledger, _) = home.open();
    // Where a snapshot would get its name there is a directory already.
    for seq in 0..400 {
        std::fs::create_dir(home.path(&format!("snapshots/{seq:020}.snapshot"))).unwrap();
    }
    fill(&ledger, 0, 300).await;
    ledger.close().await;
    assert_eq!(ledger.stats().snapshots, 0);
    let left = std::fs::read_dir(home.path("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = left.filter(|path| path.extension().is_some_and(|found| found == "new")).collect();
    assert!(left.is_empty(), "{left:?}");
}
