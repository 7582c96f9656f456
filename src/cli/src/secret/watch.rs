//! `leasehold secret watch`: what happens to the versions of a secret, as it happens.

use clap::Args;
use leasehold_client::{Client, SecretNews, SecretNotice};
use leasehold_core::{SecretPath, Timestamp};
use serde::Serialize;

use crate::{
    clock,
    exit::{About, Failure},
    lease::has_lagged,
    output::{Format, Output, Row},
};

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The secret's path
    #[arg(value_name = "SECRET")]
    secret: SecretPath,
    /// Go on behind this place, which an earlier watch wrote with --output jsonl
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
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
        if output.format == Format::Json {
            return Err(Failure::usage("a watch has no end: write it with --output jsonl"));
        }
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut place = self.resume;
        let mut list = output.stream();
        while left > 0 {
            let mut watch = client.watch_secret(&self.secret, place.clone()).await.about(&self.secret)?;
            while left > 0 {
                match watch.next().await {
                    Ok(Some(notice)) => {
                        place = Some(notice.resume_token.clone());
                        list.push(&NewsView::of(notice))?;
                        left = left.saturating_sub(1);
                    }
                    // Somebody stopped reading for a while: what was missed comes now.
                    Err(error) if has_lagged(&error) => break,
                    Ok(None) => return list.finish("nothing happened"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        list.finish("nothing happened")
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
    const WIDTHS: &'static [usize] = &[20, 9, 12];

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
    fn what_is_told_as_json_has_stable_names() {
        let at = Timestamp::from_second(60).unwrap();
        let version = || "v1".parse().unwrap();
        let shown = |news| serde_json::to_string(&view(news)).unwrap();
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
