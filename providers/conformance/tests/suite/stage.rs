//! The back end in memory, as a fixture.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{SecretValue, Timestamp, ports::Provider, secret::VersionId};
use leasehold_provider_conformance::{Against, Fixture, Issuing, Lossy, Placed, Scene, Trouble, Unplayed};
use time::OffsetDateTime;

use crate::memory::{Back, Flaw, HINT, LARGEST, LONGEST, MemoryProvider};

pub(crate) struct Memory {
    back: Arc<Back>,
    provider: MemoryProvider,
    watched: (Arc<Back>, MemoryProvider),
}

impl Memory {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let back = || Arc::new(Back { flaw, ..Back::default() });
        let (back, watched) = (back(), back());
        let provider = MemoryProvider(Arc::clone(&back));
        Self { provider, watched: (Arc::clone(&watched), MemoryProvider(watched)), back }
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_nanosecond(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap()
}

#[async_trait]
impl Fixture for Memory {
    fn back_end(&self) -> &'static str {
        "memory"
    }

    fn against(&self) -> Against {
        Against::Peer("memory")
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let reference = format!("s-{name}");
        let version = self.back.put(&reference, value);
        Ok(Placed { reference, version })
    }

    fn absent_reference(&self) -> String {
        "s-nothing".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "v999".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        Some("latest".parse().unwrap())
    }

    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        Some((&self.watched.1, &self.watched.0.calls))
    }

    fn largest_value(&self) -> usize {
        LARGEST
    }

    async fn trouble(&self, trouble: Trouble) -> Result<Scene, Unplayed> {
        let back =
            Arc::new(Back { flaw: self.back.flaw, trouble: Mutex::new(Some(trouble)), ..Back::default() });
        let value = SecretValue::plain("canary-77ab".to_owned());
        back.put("s-scene", &value);
        let provider = MemoryProvider(Arc::clone(&back));
        let scene = Scene::new(provider, "s-scene", value, Against::Scripted).turning(move || {
            *back.trouble.lock().unwrap() = None;
            async { Ok(()) }
        });
        Ok(if trouble == Trouble::Throttled { scene.hinting(HINT) } else { scene })
    }

    async fn rotating(&self) -> Result<String, Unplayed> {
        self.back.put("s-rotating", &SecretValue::plain("as it was".to_owned()));
        Ok("s-rotating".to_owned())
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }
}

#[async_trait]
impl Issuing for Memory {
    fn role(&self) -> String {
        "role".to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody".to_owned()
    }

    fn longest(&self) -> Option<Duration> {
        Some(LONGEST)
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        let name = String::from_utf8(value.fields.values().next().unwrap().expose().to_vec()).unwrap();
        Ok(Some(self.back.credentials.lock().unwrap().contains_key(&name)))
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(Some(self.back.credentials.lock().unwrap().len()))
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        // The only one to ask from here on in a run: what is issued after it is lost too.
        self.back.loses_credentials.store(true, SeqCst);
        Ok(Lossy::new(MemoryProvider(Arc::clone(&self.back)), Against::Scripted))
    }

    async fn ending_in_vain(&self) -> Result<Lossy, Unplayed> {
        let back = Arc::new(Back { flaw: self.back.flaw, ends_in_vain: true, ..Back::default() });
        Ok(Lossy::new(MemoryProvider(back), Against::Scripted))
    }
}
