//! Whether any call fails while the client's certificate is replaced every second for a minute.

use std::time::Duration;

use leasehold_tests::certificates;

use crate::figure::{Report, Target};

pub(crate) async fn failed_calls(report: &mut Report) {
    let outcome = certificates::through(Duration::from_secs(60)).await;
    Report::note(&format!(
        "{} calls, {} certificates, {} of them seen in use",
        outcome.calls, outcome.certificates, outcome.used
    ));
    for why in outcome.failed.iter().take(5) {
        Report::note(why);
    }
    report.figure("cert_rotation_failed_calls", outcome.failed.len() as f64, "calls", Target::Exactly(0.0));
}
