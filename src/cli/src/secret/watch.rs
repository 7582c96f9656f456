//! `leasehold secret watch`: what happens to the versions of a secret, as it happens.

use clap::Args;
use leasehold_client::{Client, SecretNews, SecretNotice, SecretWatch};
use leasehold_core::{SecretPath, Timestamp};
use serde::Serialize;

use crate::{
    clock, complete,
    exit::{About, Failure},
    output::{Output, Row},
    table::Cut,
    told::{Tells, Told},
};

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The secret's path
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    #[command(flatten)]
    told: Told,
}

/// One thing that is told. The names in JSON are stable.
#[derive(Serialize)]
struct NewsView {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draining_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_deadline: Option<Timestamp>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    resume_token: String,
    #[serde(skip)]
    seen_at: Timestamp,
}

impl Watch {
    pub(super) async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let secret = &self.secret;
        let begin = async |place| client.watch_secret(secret, place).await.about(secret);
        let next = async |watch: &mut SecretWatch| Ok(watch.next().await?.map(NewsView::of));
        self.told.run(output, begin, next).await
    }
}

impl Tells for NewsView {
    fn resume_token(&self) -> &str {
        &self.resume_token
    }
}

impl NewsView {
    fn of(notice: SecretNotice) -> Self {
        let seen_at = clock::now();
        let mut view = Self {
            event: "unknown",
            version: None,
            draining_version: None,
            drain_deadline: None,
            at: None,
            resume_token: notice.resume_token,
            seen_at,
        };
        match notice.news {
            SecretNews::Standing { current, draining } => {
                view.event = "standing";
                view.version = current.map(|version| version.to_string());
                if let Some((version, deadline)) = draining {
                    view.draining_version = Some(version.to_string());
                    view.drain_deadline = Some(deadline);
                }
            }
            SecretNews::Rotated { version, at } => {
                view.event = "rotated";
                (view.version, view.at) = (Some(version.to_string()), Some(at));
            }
            SecretNews::Draining { version, deadline } => {
                view.event = "draining";
                (view.version, view.drain_deadline) = (Some(version.to_string()), Some(deadline));
            }
            SecretNews::Retired { version, at } => {
                view.event = "retired";
                (view.version, view.at) = (Some(version.to_string()), Some(at));
            }
            // Of a later version.
            _ => {}
        }
        view
    }

    fn about(&self) -> String {
        match (&self.draining_version, self.drain_deadline) {
            (Some(old), Some(deadline)) => format!("{old} is draining until {deadline:.0}"),
            (None, Some(deadline)) => format!("until {deadline:.0}"),
            _ => String::new(),
        }
    }
}

impl Row for NewsView {
    const COLUMNS: &'static [&'static str] = &["TIME", "EVENT", "VERSION", "ABOUT"];
    const CUTS: &'static [(&'static str, Cut)] = &[("ABOUT", Cut::End), ("TIME", Cut::Time)];
    const LAST_OUT: &'static [&'static str] = &["ABOUT"];
    const WIDTHS: &'static [usize] = &[20, 9, 12, 40];

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:.0}", self.at.unwrap_or(self.seen_at)),
            self.event.to_owned(),
            self.version.clone().unwrap_or_else(|| "-".to_owned()),
            self.about(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(news: SecretNews) -> NewsView {
        NewsView::of(SecretNotice { resume_token: "AAE".to_owned(), news })
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<NewsView>(
            "secret-watch",
            true,
            &[
                &["2026-11-22T08:00:00Z", "snapshot", "v7", ""],
                &[
                    "2026-11-22T08:00:12Z",
                    "draining",
                    "3f1c2a9e-8d54-4b6f-9a70-5d0f6c1b2e83",
                    "v8 is current; the old one is retired at 2026-11-22T09:00:00Z or when its last lease is gone",
                ],
            ],
        );
    }

    #[test]
    fn what_is_told_as_json_has_stable_names() {
        let at = Timestamp::from_second(60).unwrap();
        let version = || "v1".parse().unwrap();
        let shown = |news| serde_json::to_string(&view(news)).unwrap();
        let all = [
            SecretNews::Standing { current: Some(version()), draining: Some((version(), at)) },
            SecretNews::Rotated { version: version(), at },
            SecretNews::Draining { version: version(), deadline: at },
            SecretNews::Retired { version: version(), at },
        ];
        crate::snapshot::documented("secret-watch", &all.map(view));
        assert_eq!(
            shown(SecretNews::Rotated { version: version(), at }),
            r#"{"event":"rotated","version":"v1","at":"1970-01-01T00:01:00Z","resume_token":"AAE"}"#
        );
        assert_eq!(
            shown(SecretNews::Draining { version: version(), deadline: at }),
            r#"{"event":"draining","version":"v1","drain_deadline":"1970-01-01T00:01:00Z","resume_token":"AAE"}"#
        );
        assert_eq!(
            shown(SecretNews::Standing { current: None, draining: None }),
            r#"{"event":"standing","resume_token":"AAE"}"#
        );
    }

    #[test]
    fn a_line_for_people_says_what_is_on_its_way_out() {
        let deadline = Timestamp::from_second(60).unwrap();
        let standing = SecretNews::Standing {
            current: Some("v2".parse().unwrap()),
            draining: Some(("v1".parse().unwrap(), deadline)),
        };
        let cells = view(standing).cells();
        assert_eq!(cells[1..], ["standing", "v2", "v1 is draining until 1970-01-01T00:01:00Z"]);
        assert_eq!(cells.len(), NewsView::COLUMNS.len());
    }
}
