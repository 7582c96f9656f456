//! Whether anybody who uses what is lent fails to log in while it is rotated by turns between two users.

use leasehold_provider_conformance::peers::Postgres;
use leasehold_tests::logins;

use crate::figure::{Report, Target};

const ROTATIONS: usize = 200;

pub(crate) async fn failed_logins(report: &mut Report) {
    let begin = tokio::time::Instant::now();
    let outcome = logins::through(Postgres::start().await.unwrap(), ROTATIONS).await;
    assert_eq!(outcome.alive, Vec::<usize>::new(), "old passwords that are still accepted");
    Report::note(&format!(
        "{} logins through {} rotations in {:.0} s; every one of the {} old passwords was refused after its retirement",
        outcome.tried,
        ROTATIONS,
        begin.elapsed().as_secs_f64(),
        outcome.retired
    ));
    for why in outcome.failed.iter().take(5) {
        Report::note(why);
    }
    report.figure("alternating_failed_logins", outcome.failed.len() as f64, "logins", Target::Exactly(0.0));
}
