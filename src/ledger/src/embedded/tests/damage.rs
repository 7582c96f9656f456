//! Damage to the index that nobody sees when it is opened: what it hides must not be taken for what never was.

use super::*;

/// A ledger that was closed, with several blocks in its index; everything that it has, and the run's file.
async fn closed(home: &Home) -> (Vec<(String, Vec<u8>, Revision)>, PathBuf) {
    let (ledger, _) = home.open();
    for n in 0..20 {
        let writes = (0..10).map(|m| put(&format!("k/{n:02}/{m}"), &"v".repeat(500))).collect();
        ledger.commit(commit(vec![], writes)).await.unwrap();
    }
    let before = all(&ledger).await;
    ledger.close().await;
    let run = std::fs::read_dir(home.path("index/runs")).unwrap().next().unwrap().unwrap().path();
    (before, run)
}

#[tokio::test]
async fn a_damaged_block_is_told_to_who_reads_it_and_healed_by_a_restart() {
    let home = Home::new();
    let (before, run) = closed(&home).await;
    let mut bytes = std::fs::read(&run).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&run, bytes).unwrap();

    let (ledger, recovery) = home.open();
    assert_eq!(recovery.rebuilt, None, "blocks are not read before somebody asks");
    let error = ledger.scan(&KeyRange::prefix("k/"), usize::MAX).await.unwrap_err();
    assert!(error.to_string().contains("restart to rebuild it"), "{error}");
    ledger.close().await;
    drop(ledger);

    let (ledger, recovery) = home.open();
    assert!(recovery.rebuilt.as_ref().unwrap().contains("something damaged was read from it"), "{recovery}");
    assert_eq!(all(&ledger).await, before);
    ledger.close().await;
    drop(ledger);
    assert_eq!(home.open().1.rebuilt, None, "once is enough");
}

#[tokio::test]
async fn a_catalogue_that_forgot_a_block_is_found_out() {
    let home = Home::new();
    let (before, _) = closed(&home).await;
    let keys: Vec<_> = home.open_catalogue().iter().keys().map(Result::unwrap).collect();
    assert!(keys.len() > 3, "{} blocks", keys.len());
    for forgotten in [&keys[0], &keys[keys.len() / 2], keys.last().unwrap()] {
        let blocks = home.open_catalogue();
        blocks.remove(forgotten).unwrap();
        blocks.flush().unwrap();
        drop(blocks);
        let (ledger, recovery) = home.open();
        assert!(recovery.rebuilt.as_ref().unwrap().contains("has lost blocks of run"), "{recovery}");
        assert_eq!(all(&ledger).await, before);
        ledger.close().await;
    }
}

impl Home {
    fn open_catalogue(&self) -> sled::Tree {
        sled::open(self.path("index/catalogue")).unwrap().open_tree("blocks").unwrap()
    }
}
