//! What came of trying back ends, as the command line shows it. The names in JSON are stable.

use leasehold_client::proto;
use serde::Serialize;

use crate::{output::Row, table::Cut};

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct FindingView {
    provider: String,
    step: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    grant: String,
}

impl FindingView {
    pub(super) fn all(check: &proto::ProviderCheck) -> impl Iterator<Item = Self> {
        check.findings.iter().map(|finding| Self {
            provider: check.provider.clone(),
            step: finding.step.clone(),
            verdict: match finding.verdict() {
                proto::ProviderVerdict::Unspecified => "unknown",
                proto::ProviderVerdict::Passed => "ok",
                proto::ProviderVerdict::Failed => "failed",
                proto::ProviderVerdict::NotTried => "not tried",
            },
            message: finding.message.clone(),
            remedy: finding.remedy.clone(),
            grant: finding.grant.clone(),
        })
    }

    pub(super) fn is_failed(&self) -> bool {
        self.verdict == "failed"
    }

    /// What to do about a step that failed, in lines; those of policy stand by themselves, to be copied.
    pub(super) fn way_out(&self) -> Vec<String> {
        let mut lines = vec![String::new(), format!("{}, {}:", self.provider, self.step)];
        lines.push(format!("  {}", clean(&self.message)));
        if !self.remedy.is_empty() {
            lines.push(format!("  {}", clean(&self.remedy)));
        }
        lines.extend(self.grant.lines().map(clean));
        lines
    }
}

impl Row for FindingView {
    const COLUMNS: &'static [&'static str] = &["PROVIDER", "STEP", "RESULT", "NOTE"];
    const CUTS: &'static [(&'static str, Cut)] = &[("STEP", Cut::End), ("NOTE", Cut::End)];
    const LAST_OUT: &'static [&'static str] = &["NOTE"];

    fn cells(&self) -> Vec<String> {
        let result = if self.is_failed() { "FAILED" } else { self.verdict };
        // What is wrong is told below, with the way out.
        let note = if self.is_failed() { "" } else { self.message.as_str() };
        vec![self.provider.clone(), self.step.clone(), result.to_owned(), note.to_owned()]
    }
}

/// Text of a back end, without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> proto::ProviderCheck {
        let finding = |step: &str, verdict: proto::ProviderVerdict| proto::ProviderFinding {
            step: step.into(),
            verdict: verdict.into(),
            ..Default::default()
        };
        let denied = proto::ProviderFinding {
            message: "the broker may not read it\u{1b}[2J".into(),
            remedy: "add this to its policy".into(),
            grant: "path \"kv/data/db\" {\n  capabilities = [\"read\"]\n}".into(),
            ..finding("read `kv/db`", proto::ProviderVerdict::Failed)
        };
        let passed = proto::ProviderFinding {
            message: "as the role leasehold".into(),
            ..finding("sign in", proto::ProviderVerdict::Passed)
        };
        let findings = vec![passed, denied, finding("issue", proto::ProviderVerdict::NotTried)];
        proto::ProviderCheck { provider: "vault-main".into(), findings }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<FindingView>(
            "provider-check",
            false,
            &[
                &["vault-main", "sign in", "ok", "as auth/cert/leasehold"],
                &[
                    "vault-main",
                    "read the secret kv/data/payments/db, which the catalog has as prod/payments/db",
                    "not tried",
                    "it could not sign in, and so nothing after that was tried",
                ],
            ],
        );
    }

    #[test]
    fn each_step_has_its_row_and_a_failure_its_way_out() {
        let found: Vec<_> = FindingView::all(&check()).collect();
        let cells: Vec<_> = found.iter().map(Row::cells).collect();
        assert_eq!(cells[0], ["vault-main", "sign in", "ok", "as the role leasehold"]);
        assert_eq!(cells[1], ["vault-main", "read `kv/db`", "FAILED", ""]);
        assert_eq!(cells[2], ["vault-main", "issue", "not tried", ""]);
        let expected = [
            "",
            "vault-main, read `kv/db`:",
            "  the broker may not read it[2J",
            "  add this to its policy",
            "path \"kv/data/db\" {",
            "  capabilities = [\"read\"]",
            "}",
        ];
        assert_eq!(found[1].way_out(), expected);
        assert_eq!(found.iter().filter(|finding| finding.is_failed()).count(), 1);
    }

    #[test]
    fn programs_get_the_same_under_stable_names() {
        let found: Vec<_> = FindingView::all(&check()).collect();
        crate::snapshot::documented("provider-check", &found);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json[1]["verdict"], "failed");
        assert_eq!(json[1]["grant"].as_str().unwrap().lines().count(), 3);
        assert_eq!(json[2]["verdict"], "not tried");
        assert!(json[0].get("remedy").is_none());
    }
}
