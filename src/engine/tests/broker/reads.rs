//! How much of the ledger a listing reads: what an index serves is found by it, however many other leases there are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use leasehold_core::{
    Lease, LeaseId,
    ports::Ledger,
    record::{Kind, Record},
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
    ttl::TtlLimits,
};
use leasehold_engine::request::{LeaseFilter, LeaseScope, ListLeases};
use leasehold_ledger::Memory;

use crate::kit::{ADMIN, API, Broker, actor};

/// Counts the entries that are read.
struct Counting {
    ledger: Memory,
    entries: AtomicUsize,
}

#[async_trait]
impl Ledger for Counting {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        self.ledger.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.entries.fetch_add(1, Relaxed);
        self.ledger.get(key).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let found = self.ledger.scan(range, limit).await?;
        self.entries.fetch_add(found.len(), Relaxed);
        Ok(found)
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.ledger.watch(range)
    }
}

/// Twenty holders with as many leases each, over four secrets and two versions: four hundred leases.
async fn crowd(ledger: &Memory) {
    for n in 0..400_u16 {
        let holder = format!("spiffe://example.org/prod/payments/api-{}", n % 20);
        let secret = format!("prod/{}/db-{}", ["payments", "orders"][usize::from(n / 100 % 2)], n / 200);
        store(ledger, n, &holder, &secret, &format!("v{}", n / 50 % 2)).await;
    }
}

/// The lease number `n`.
async fn store(ledger: &Memory, n: u16, holder: &str, secret: &str, version: &str) {
    let now = leasehold_core::Timestamp::from_second(1_000).unwrap();
    let limits =
        TtlLimits::new(std::time::Duration::from_secs(60), std::time::Duration::from_secs(300)).unwrap();
    let mut bits = [0; 16];
    bits[..2].copy_from_slice(&n.wrapping_mul(40_503).to_be_bytes());
    bits[2..4].copy_from_slice(&n.to_be_bytes());
    let lease = Lease::new_static(
        LeaseId::from_bits(bits),
        holder.parse().unwrap(),
        secret.parse().unwrap(),
        "main".parse().unwrap(),
        version.parse().unwrap(),
        limits.term(None, now),
        now,
    );
    let record = Record::new(now, Kind::LeaseIssued, actor(ADMIN));
    let issued = Commit { record, conditions: Vec::new(), writes: lease.writes(None).unwrap() };
    ledger.commit(issued).await.unwrap();
}

fn list(filter: LeaseFilter, page_size: usize, page_token: Option<String>) -> ListLeases {
    ListLeases { actor: actor(ADMIN), scope: LeaseScope::All, filter, page_size, page_token }
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_an_index_serves_reads_what_it_finds_and_little_else() {
    let ledger = Memory::new();
    crowd(&ledger).await;
    let counting = Arc::new(Counting { ledger: ledger.clone(), entries: AtomicUsize::new(0) });
    let broker = Broker::through(counting.clone(), ledger, Arc::default());
    let filter = LeaseFilter::default;
    let cases = [
        (
            "one holder",
            20,
            LeaseFilter {
                holder: Some("spiffe://example.org/prod/payments/api-3".parse().unwrap()),
                ..filter()
            },
        ),
        ("one secret", 100, LeaseFilter { secret: Some("prod/orders/db-1".parse().unwrap()), ..filter() }),
        (
            "one version",
            50,
            LeaseFilter {
                secret: Some("prod/orders/db-1".parse().unwrap()),
                version: Some("v1".parse().unwrap()),
                ..filter()
            },
        ),
        ("a prefix", 200, LeaseFilter { prefix: Some("prod/orders/".parse().unwrap()), ..filter() }),
        ("everything", 400, filter()),
        (
            "nobody's",
            0,
            LeaseFilter { holder: Some("spiffe://example.org/prod/none".parse().unwrap()), ..filter() },
        ),
    ];
    for (what, matches, filter) in cases {
        counting.entries.store(0, Relaxed);
        let page = broker.engine.list_leases(list(filter, 1000, None)).await.unwrap();
        assert_eq!(page.items.len(), matches, "{what}");
        // An index entry and its lease for each that is found.
        let read = counting.entries.load(Relaxed);
        assert!(read <= 2 * matches + 2, "{what}: {read} entries were read for {matches} leases");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_reads_one_page_and_the_order_stays_while_leases_come_and_go() {
    let ledger = Memory::new();
    crowd(&ledger).await;
    let counting = Arc::new(Counting { ledger: ledger.clone(), entries: AtomicUsize::new(0) });
    let broker = Broker::through(counting.clone(), ledger.clone(), Arc::default());
    let filter = LeaseFilter { secret: Some("prod/orders/db-1".parse().unwrap()), ..LeaseFilter::default() };
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        counting.entries.store(0, Relaxed);
        let page = broker.engine.list_leases(list(filter.clone(), 10, token)).await.unwrap();
        let read = counting.entries.load(Relaxed);
        assert!(read <= 2 * 2 * 10 + 2, "{read} entries were read for a page");
        seen.extend(page.items.iter().map(|lease| lease.id));
        // Meanwhile two of those that were told go away, the very last one among them.
        if seen.len() == 20 {
            for id in [seen[3], seen[19]] {
                let stored = ledger.get(&Key::lease(id)).await.unwrap().unwrap();
                let lease = Lease::decode(&stored.value).unwrap();
                let record = Record::new(lease.issued_at, Kind::LeasePurged, actor(ADMIN));
                let gone = Commit { record, conditions: Vec::new(), writes: lease.purge() };
                ledger.commit(gone).await.unwrap();
            }
        }
        match page.next_page_token {
            Some(next) => token = Some(next),
            None => break,
        }
    }
    let mut apart = seen.clone();
    apart.sort();
    apart.dedup();
    assert_eq!((seen.len(), apart.len()), (100, 100), "each lease once, and none is missed");
}

#[tokio::test(start_paused = true)]
async fn how_a_list_goes_on_tells_nothing_of_secrets_that_are_hidden() {
    let ledger = Memory::new();
    crowd(&ledger).await;
    // More than one call looks at.
    for n in 400..11_000 {
        store(&ledger, n, API, "prod/payments/hidden/db", "v1").await;
    }
    let counting = Arc::new(Counting { ledger: ledger.clone(), entries: AtomicUsize::new(0) });
    let broker = Broker::through(counting.clone(), ledger, Arc::default());
    broker.rules.hidden.lock().unwrap().insert("prod/payments/".to_owned());
    let under =
        |prefix: &str| LeaseFilter { prefix: Some(prefix.parse().unwrap()), ..LeaseFilter::default() };
    for prefix in ["prod/payments/", "prod/payments/hidden/"] {
        counting.entries.store(0, Relaxed);
        let page = broker.engine.list_leases(list(under(prefix), 10, None)).await.unwrap();
        assert_eq!((page.items.len(), page.next_page_token), (0, None), "{prefix}");
        let read = counting.entries.load(Relaxed);
        assert!(read <= 20, "{read} entries were read of what is hidden under {prefix}");
    }
    // Behind the last one that is seen there is nothing, as far as the caller can tell.
    for size in [1, 100, 200, 300] {
        let (mut seen, mut pages, mut token) = (0, 0, None);
        loop {
            let page = broker.engine.list_leases(list(under("prod/"), size, token)).await.unwrap();
            assert!(page.items.iter().all(|lease| lease.secret.as_str().starts_with("prod/orders/")));
            (seen, pages) = (seen + page.items.len(), pages + 1);
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (200, 200_usize.div_ceil(size)), "in pages of {size}");
    }
}
