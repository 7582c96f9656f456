//! Versions as the command line shows them. The names in JSON are stable.

use leasehold_client::proto;
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{clock, duration, output::Row, table::Cut};

/// One version, never its value.
#[derive(Serialize)]
pub(super) struct VersionView {
    version: String,
    state: &'static str,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    live_leases: i64,
}

impl VersionView {
    pub(super) fn of(version: &proto::SecretVersion) -> Self {
        use proto::SecretVersionState as State;
        let state = match version.state() {
            State::Unspecified => "unknown",
            State::Enabled => "enabled",
            State::Disabled => "disabled",
            State::Deleted => "deleted",
            State::Destroyed => "destroyed",
        };
        Self {
            version: version.version.clone(),
            state,
            current: version.current,
            created_at: version.create_time.and_then(clock::of_proto),
            labels: version.labels.clone(),
            live_leases: version.live_lease_count,
        }
    }
}

impl Row for VersionView {
    const COLUMNS: &'static [&'static str] = &["VERSION", "STATE", "CURRENT", "CREATED", "LEASES", "LABELS"];
    const CUTS: &'static [(&'static str, Cut)] = &[("LABELS", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["CREATED"];
    const LAST_OUT: &'static [&'static str] = &["LABELS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.version.clone(),
            self.state.to_owned(),
            if self.current { "yes" } else { "" }.to_owned(),
            self.created_at.map(|time| duration::relative(time, clock::now())).unwrap_or_default(),
            self.live_leases.to_string(),
            self.labels.join(", "),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<VersionView>(
            "secret-versions",
            false,
            &[
                &["3f1c2a9e-8d54-4b6f-9a70-5d0f6c1b2e83", "enabled", "yes", "2h 10m ago", "3", "AWSCURRENT"],
                &[
                    "9c0b7d12-63aa-4f0e-8b21-0e5d9a4c7f16",
                    "enabled",
                    "",
                    "30d 2h ago",
                    "0",
                    "AWSPREVIOUS, kept-for-the-audit",
                ],
            ],
        );
    }

    #[test]
    fn a_version_for_people_and_programs() {
        let version = proto::SecretVersion {
            version: "v2".into(),
            state: proto::SecretVersionState::Disabled.into(),
            create_time: Some(prost_types::Timestamp { seconds: 60, nanos: 0 }),
            current: true,
            labels: vec!["AWSCURRENT".into()],
            live_lease_count: 3,
        };
        let view = VersionView::of(&version);
        crate::snapshot::documented("secret-versions", &[VersionView::of(&version)]);
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            concat!(
                r#"{"version":"v2","state":"disabled","current":true,"created_at":"1970-01-01T00:01:00Z","#,
                r#""labels":["AWSCURRENT"],"live_leases":3}"#
            )
        );
        let cells = view.cells();
        assert_eq!(cells.len(), VersionView::COLUMNS.len());
        assert_eq!((cells[1].as_str(), cells[2].as_str(), cells[4].as_str()), ("disabled", "yes", "3"));
    }
}
