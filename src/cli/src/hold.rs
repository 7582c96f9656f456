//! `leasehold hold`: look at a broker that ends nothing, and let it go on.

use clap::Subcommand;
use leasehold_client::proto;
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{
    clock,
    connection::Connection,
    duration,
    exit::{About, Failure},
    orphan::PATIENCE,
    output::{Format, Output},
    progress::waiting,
};

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Say whether the broker is on hold, and what it would end at each back end if it were not
    Show,
    /// End the hold: what is due is ended from now on; look at `leasehold hold show` first
    Release {
        /// The reason, for the audit record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// The hold, under stable names.
#[derive(Serialize)]
struct HoldView {
    on_hold: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_static_leases: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    providers: Vec<HeldProviderView>,
}

#[derive(Serialize)]
struct HeldProviderView {
    name: String,
    due_credentials: i64,
    orphans: i64,
    missing: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
}

pub(crate) async fn run(
    command: HoldCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let operator = connection.open_for(PATIENCE).await?.operator();
    let view = match command {
        HoldCommand::Show => {
            let wanted = output.format == Format::Table;
            HoldView::of(waiting("asking the back ends", wanted, operator.hold()).await.about("the hold")?)
        }
        HoldCommand::Release { reason } => {
            operator.release_hold(reason).await.about("the hold")?;
            HoldView::of(None)
        }
    };
    output.item(&view, &view.parts(clock::now()))
}

impl HoldView {
    fn of(hold: Option<proto::Hold>) -> Self {
        let Some(hold) = hold else {
            return Self {
                on_hold: false,
                since: None,
                reason: None,
                due_static_leases: None,
                providers: Vec::new(),
            };
        };
        let reason = match hold.reason() {
            proto::HoldReason::Unspecified => "unknown",
            proto::HoldReason::Requested => "requested",
            proto::HoldReason::Restored => "restored",
        };
        Self {
            on_hold: true,
            reason: Some(reason),
            since: hold.start_time.and_then(clock::of_proto),
            due_static_leases: Some(hold.due_static_lease_count),
            providers: hold.providers.into_iter().map(HeldProviderView::of).collect(),
        }
    }

    fn parts(&self, now: Timestamp) -> Vec<(&str, String)> {
        let Some(reason) = self.reason else {
            return vec![("hold", "none: what is due is ended".to_owned())];
        };
        let why = match reason {
            "restored" => "the state was restored from a backup",
            "requested" => "it was started so",
            other => other,
        };
        let since = self.since.map(|since| format!(" since {since:.0} ({})", duration::relative(since, now)));
        let mut parts =
            vec![("hold", format!("ON HOLD{}: {why}; nothing is ended", since.unwrap_or_default()))];
        let due = self.due_static_leases.unwrap_or_default();
        parts.push(("static leases", format!("{due} are over")));
        for provider in &self.providers {
            parts.push((&provider.name, provider.line()));
        }
        parts
    }
}

impl HeldProviderView {
    fn of(provider: proto::HeldProvider) -> Self {
        Self {
            name: provider.provider,
            due_credentials: provider.due_credential_count,
            orphans: provider.orphan_count,
            missing: provider.missing_count,
            problem: provider.problem,
        }
    }

    fn line(&self) -> String {
        let due = format!("{} credentials would be ended", self.due_credentials);
        if !self.problem.is_empty() {
            return format!("{due}; NOT COMPARED: {}", self.problem);
        }
        format!(
            "{due}, {} orphans after their grace; {} live leases have none there",
            self.orphans, self.missing
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ended_is_told() {
        let provider = |name: &str, problem: &str| proto::HeldProvider {
            provider: name.into(),
            due_credential_count: 3,
            orphan_count: 2,
            missing_count: 1,
            problem: problem.into(),
        };
        let view = HoldView::of(Some(proto::Hold {
            start_time: Some(prost_types::Timestamp::default()),
            reason: proto::HoldReason::Restored.into(),
            due_static_lease_count: 7,
            providers: vec![provider("pg", ""), provider("vault", "it cannot list")],
        }));
        let parts = view.parts(Timestamp::from_second(60).unwrap());
        let find = |name| parts.iter().find(|(part, _)| *part == name).map(|(_, text)| text.as_str());
        assert_eq!(
            find("hold"),
            Some(
                "ON HOLD since 1970-01-01T00:00:00Z (1m ago): the state was restored from a backup; nothing is ended"
            )
        );
        assert_eq!(find("static leases"), Some("7 are over"));
        assert!(find("pg").unwrap().starts_with("3 credentials would be ended, 2 orphans"));
        assert_eq!(find("vault"), Some("3 credentials would be ended; NOT COMPARED: it cannot list"));
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["on_hold"], &json["reason"]), (&true.into(), &"restored".into()));
        assert_eq!(json["providers"][0]["orphans"], 2);
        crate::snapshot::documented("hold-show", &view);
        let none = serde_json::to_string(&HoldView::of(None)).unwrap();
        assert_eq!(none, r#"{"on_hold":false}"#);
    }
}
