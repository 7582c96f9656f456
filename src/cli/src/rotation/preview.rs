//! What a rotation would do.

use std::iter;

use leasehold_client::proto;
use serde::Serialize;

use crate::{
    duration,
    exit::{Exit, Failure},
    output::{Format, Output, printable},
};

/// A dry run. The names in JSON are stable.
#[derive(Serialize)]
struct PreviewView {
    secret: String,
    ok: bool,
    leases: i64,
    drain_seconds: u64,
    steps: Vec<StepView>,
}

#[derive(Serialize)]
struct StepView {
    step: String,
    ok: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// Shows it; it fails when the rotation would.
pub(crate) fn show_preview(
    secret: &str,
    preview: &proto::RotationPreview,
    output: &mut Output,
) -> Result<(), Failure> {
    let view = PreviewView::of(secret, preview);
    if output.format == Format::Table {
        for line in view.lines() {
            output.line_of_words(&line)?;
        }
    } else {
        output.item(&view, &[])?;
    }
    let failed = view.steps.iter().filter(|step| !step.ok).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{secret}: a rotation would fail: see the steps marked `!`")))
}

impl PreviewView {
    fn of(secret: &str, preview: &proto::RotationPreview) -> Self {
        let drain = preview.drain.and_then(|drain| std::time::Duration::try_from(drain).ok());
        Self {
            secret: secret.to_owned(),
            ok: preview.steps.iter().all(|step| step.ok),
            leases: preview.lease_count,
            drain_seconds: drain.unwrap_or_default().as_secs(),
            steps: preview
                .steps
                .iter()
                .map(|step| StepView { step: step.step.clone(), ok: step.ok, message: step.message.clone() })
                .collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let width = self.steps.iter().map(|step| step.step.chars().count()).max().unwrap_or_default();
        let step = |step: &StepView| {
            let mark = if step.ok { 'x' } else { '!' };
            let mut message = step.message.lines().map(printable);
            let told = message.next().unwrap_or_default();
            let line = format!("  [{mark}] {:<width$}  {told}", printable(&step.step));
            // The lines of policy that would allow it stand by themselves, to be copied.
            iter::once(line.trim_end().to_owned()).chain(message).collect::<Vec<_>>()
        };
        let drain = duration::show(std::time::Duration::from_secs(self.drain_seconds));
        let mut lines = vec![format!("a rotation of {} would do this; nothing was changed", self.secret)];
        lines.extend(self.steps.iter().flat_map(step));
        lines.push(format!("  {} live leases would have {drain} to move", self.leases));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_says_what_would_fail() {
        let step = |step: &str, ok, message: &str| proto::RotationPreviewStep {
            step: step.into(),
            ok,
            message: message.into(),
        };
        let preview = proto::RotationPreview {
            steps: vec![
                step("read it", true, ""),
                step("write it", false, "not allowed: run this\nGRANT it TO broker;"),
            ],
            lease_count: 3,
            drain: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        };
        let view = PreviewView::of("prod/a", &preview);
        crate::snapshot::documented("secret-rotate-dry-run", &view);
        assert_eq!(
            view.lines(),
            [
                "a rotation of prod/a would do this; nothing was changed",
                "  [x] read it",
                "  [!] write it  not allowed: run this",
                "GRANT it TO broker;",
                "  3 live leases would have 1h to move",
            ]
        );
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            concat!(
                r#"{"secret":"prod/a","ok":false,"leases":3,"drain_seconds":3600,"#,
                r#""steps":[{"step":"read it","ok":true},{"step":"write it","ok":false,"message":"not allowed: run this\nGRANT it TO broker;"}]}"#
            )
        );
    }
}
