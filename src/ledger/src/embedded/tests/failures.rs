//! Full disks, failing fsyncs, files that go away.

use leasehold_audit::faults::Plan;

use super::*;

#[tokio::test]
async fn a_failing_fsync_poisons_for_ever() {
    let home = Home::new();
    let (ledger, _) = home.open();
    ledger.commit(commit(vec![], vec![put("a", "1")])).await.unwrap();
    home.faults.set(Plan { fail_sync: Some(1), ..Plan::default() });
    let refused = ledger.commit(commit(vec![], vec![put("a", "2")])).await;
    assert!(matches!(refused, Err(LedgerError::Poisoned(_))), "{refused:?}");
    home.faults.clear();
    let refused = ledger.commit(commit(vec![], vec![put("a", "3")])).await;
    assert!(matches!(refused, Err(LedgerError::Poisoned(_))), "{refused:?}");
    assert!(matches!(*ledger.health().borrow(), LedgerHealth::Poisoned(_)));
    assert_eq!(ledger.get(&key("a")).await.unwrap().unwrap().value.expose(), b"1");
    drop(ledger);
    // Whether the second commit is durable is unknown; the first is, and the third never was.
    let (ledger, _) = home.open();
    let value = ledger.get(&key("a")).await.unwrap().unwrap().value;
    assert!(matches!(value.expose(), b"1" | b"2"));
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let home = Home { segment_bytes: 16 * 1024, ..Home::new() };
    let (ledger, _) = home.open();
    home.faults.set(Plan { room: Some(0), ..Plan::default() });
    let mut acknowledged = 0;
    let refused = loop {
        match ledger.commit(commit(vec![], vec![put(&format!("k/{acknowledged:04}"), "v")])).await {
            Ok(_) => acknowledged += 1,
            Err(why) => break why,
        }
        assert!(acknowledged < 1000);
    };
    assert!(matches!(refused, LedgerError::Full(_)), "{refused}");
    assert!(matches!(*ledger.health().borrow(), LedgerHealth::Full(_)));
    assert_eq!(all(&ledger).await.len(), acknowledged);
    home.faults.clear();
    // Nobody commits, and yet it is found out.
    ledger.health().wait_for(|health| *health == LedgerHealth::Ok).await.unwrap();
    ledger.commit(commit(vec![], vec![put("after", "")])).await.unwrap();
    assert_eq!(all(&ledger).await.len(), acknowledged + 1);
    drop(ledger);
    assert_eq!(all(&home.open().0).await.len(), acknowledged + 1);
}

#[tokio::test]
async fn a_journal_that_goes_away_is_missed_and_welcomed_back() {
    let home = Home::new();
    let (ledger, _) = home.open();
    ledger.commit(commit(vec![], vec![put("a", "1")])).await.unwrap();
    let find = |dir: &str| -> PathBuf {
        let mut logs: Vec<_> = std::fs::read_dir(home.path(dir))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "log"))
            .collect();
        logs.sort();
        logs.swap_remove(0)
    };
    let (segment, aside) = (find("journal"), home.path("aside"));
    std::fs::rename(&segment, &aside).unwrap();
    let refused = ledger.commit(commit(vec![], vec![put("a", "2")])).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    assert!(matches!(*ledger.health().borrow(), LedgerHealth::Unavailable(_)));
    assert_eq!(ledger.get(&key("a")).await.unwrap().unwrap().value.expose(), b"1");
    std::fs::rename(&aside, &segment).unwrap();
    ledger.health().wait_for(|health| *health == LedgerHealth::Ok).await.unwrap();
    assert_eq!(ledger.commit(commit(vec![], vec![put("a", "3")])).await, Ok(2));
}

#[tokio::test]
async fn when_the_index_cannot_be_written_commits_stop_before_memory_is_full() {
    let home = Home { limits: Limits { bytes: 4000, records: 1000 }, ..Home::new() };
    let (ledger, _) = home.open();
    // A directory where the next run should be: it can be neither written nor replaced.
    for id in 1..200 {
        std::fs::create_dir_all(home.path(&format!("index/runs/{id:020}.run/x"))).unwrap();
    }
    let mut acknowledged = 0;
    let refused = loop {
        match ledger.commit(commit(vec![], vec![put(&format!("k/{acknowledged:04}"), "value")])).await {
            Ok(_) => acknowledged += 1,
            Err(why) => break why,
        }
        assert!(acknowledged < 1000);
    };
    assert!(matches!(&refused, LedgerError::Unavailable(why) if why.contains("index")), "{refused}");
    assert_eq!(all(&ledger).await.len(), acknowledged);
    for id in 1..200 {
        std::fs::remove_dir_all(home.path(&format!("index/runs/{id:020}.run"))).unwrap();
    }
    ledger.health().wait_for(|health| *health == LedgerHealth::Ok).await.unwrap();
    ledger.commit(commit(vec![], vec![put("after", "")])).await.unwrap();
    assert_eq!(all(&ledger).await.len(), acknowledged + 1);
}
