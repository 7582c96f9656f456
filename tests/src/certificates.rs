//! A client whose certificate is replaced every second, by one that works for a few seconds only.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_client::{Client, Issue};
use tokio::{task::JoinSet, time::interval};

use crate::{
    authority::Leaf,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site, WORKLOAD},
};

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many calls were made.
    pub calls: u64,
    /// Those that failed, in the client's words.
    pub failed: Vec<String>,
    /// How many certificates there were.
    pub certificates: u64,
    /// How many of them were in use when they were looked at.
    pub used: usize,
}

/// A certificate is of use for so long: a client that did not take the next one would fail soon.
const LIFE: i64 = 6;
const AT_ONCE: usize = 4;

/// Replaces the certificate every second for so long, while calls go on.
///
/// # Panics
/// When there is no broker to be had.
pub async fn through(length: Duration) -> Outcome {
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "a-value").await;
    renew(&site);
    let client = site
        .client("workload")
        .retries(true)
        .identity_files(site.path("tls/rotated.pem"), site.path("tls/rotated.key"))
        .connect()
        .await
        .unwrap();

    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let failed: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, over, calls, failed) = (client.clone(), over.clone(), calls.clone(), failed.clone());
        workers.spawn(async move {
            while !over.load(Relaxed) {
                if let Err(why) = call(&client).await {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_string());
                }
                calls.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let held = client.lease(SECRET).await.unwrap();
    let mut ticks = interval(Duration::from_secs(1));
    let (mut certificates, mut used) = (0, BTreeSet::new());
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < length {
        ticks.tick().await;
        used.extend(client.identity().and_then(|identity| identity.not_after));
        renew(&site);
        certificates += 1;
    }
    over.store(true, Relaxed);
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    held.close().await.unwrap();
    broker.stop().await;
    let failed = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
    Outcome { calls: calls.load(Relaxed), failed, certificates, used: used.len() }
}

async fn call(client: &Client) -> Result<(), leasehold_client::Error> {
    let issue = Issue { secret: SECRET.parse().unwrap(), ttl: None, fields: Vec::new(), request_id: None };
    let issued = client.issue_lease(issue).await?;
    client.revoke_lease(issued.lease.id, None).await.map(drop)
}

/// Puts the next certificate and key where the client looks, each whole.
fn renew(site: &Site) {
    let next = site.authority.sign(&Leaf { until: LIFE, ..Leaf::client(WORKLOAD) });
    site.install("next", &next);
    for end in ["pem", "key"] {
        fs::rename(site.path(&format!("tls/next.{end}")), site.path(&format!("tls/rotated.{end}"))).unwrap();
    }
}
