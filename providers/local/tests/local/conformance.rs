//! The suite, against a directory.

use async_trait::async_trait;
use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{Stage, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_conformance::{Against, Fixture, Placed, Scene, Trouble, Unplayed, run};

use crate::kit::{Local, token};

#[async_trait]
impl Fixture for Local {
    fn back_end(&self) -> &'static str {
        "local"
    }

    fn against(&self) -> Against {
        Against::Peer("files")
    }

    async fn trouble(&self, _trouble: Trouble) -> Result<Scene, Unplayed> {
        Err(Unplayed::Impossible("there is nobody else to whom it talks"))
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let reference = format!("conformance/{name}");
        let token = token();
        let request = WriteVersion {
            reference: &reference,
            value,
            token: &token,
            expected: None,
            stage: Stage::Current,
        };
        let version = self.provider.write(request).await.map_err(|error| error.to_string())?;
        Ok(Placed { reference, version })
    }

    fn absent_reference(&self) -> String {
        "conformance/nothing-here".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "v99-aaaaaaaa".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        Some("latest".parse().unwrap())
    }

    fn hostile_references(&self) -> Vec<String> {
        ["/etc/passwd", "a/", "conformance/current/@", "a:b", "a/".repeat(17).as_str()]
            .map(str::to_owned)
            .to_vec()
    }

    fn largest_value(&self) -> usize {
        self.config.max_value_bytes
    }
}

#[tokio::test]
async fn the_suite_passes() {
    let report = run(&Local::new()).await;
    report.record().unwrap();
    let report = report.passed().unwrap();
    assert_eq!(report.lines().filter(|line| line.starts_with("passed")).count(), 33, "{report}");
}
