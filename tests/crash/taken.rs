//! The journal's file is removed, replaced or cut under the running broker, with real files and the real program.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use leasehold_audit::Head;
use leasehold_client::proto::LedgerHealth;
use leasehold_tests::daemon::Daemon;

use crate::{
    acknowledged::verified,
    killed::check,
    outside::{Serving, becomes, refuses, works},
    seed,
    state::{End, Patient},
};

const REASON: &str = "LEDGER_UNAVAILABLE";

/// A broker that serves and has some leases.
async fn serving() -> (Patient, Daemon) {
    let mut patient = Patient::new(&mut seed::from_env()).await;
    patient.live(1, End::InOrder).await;
    let daemon = Daemon::start(&patient.site).await;
    works(&patient.site, &mut patient.workloads).await;
    (patient, daemon)
}

impl Patient {
    /// Nothing is written, and the status tells why.
    async fn is_missing_its_journal(&self, segment: &Path, why: &str) {
        let message = refuses(&self.site, &self.workloads, REASON, LedgerHealth::Unavailable).await;
        assert!(message.contains(&format!("{} {why}", segment.display())), "no `{why}` in {message}");
    }

    /// It works again, and has everything, also after it was killed.
    async fn works_again(&mut self, daemon: Daemon) -> Daemon {
        becomes(&self.site, Serving::Yes).await;
        works(&self.site, &mut self.workloads).await;
        check(&self.site, &mut self.workloads, Head::START).await;
        daemon.kill();
        let daemon = Daemon::start(&self.site).await;
        check(&self.site, &mut self.workloads, Head::START).await;
        verified(&self.journal(), Head::START);
        daemon
    }
}

#[tokio::test]
async fn a_removed_journal_is_missed_until_it_is_back() {
    let (mut patient, mut daemon) = serving().await;
    let (segment, aside) = (patient.segments()[patient.last()].clone(), patient.site.path("aside.log"));

    fs::rename(&segment, &aside).unwrap();
    // Nobody asks for anything, and yet it is found out.
    becomes(&patient.site, Serving::No).await;
    patient.is_missing_its_journal(&segment, "is gone while the daemon writes to it: put it back").await;
    fs::rename(&aside, &segment).unwrap();
    daemon = patient.works_again(daemon).await;

    // The last name is taken, and somebody else has the file still.
    fs::hard_link(&segment, &aside).unwrap();
    fs::remove_file(&segment).unwrap();
    patient.is_missing_its_journal(&segment, "is gone while the daemon writes to it: put it back").await;
    fs::rename(&aside, &segment).unwrap();
    daemon = patient.works_again(daemon).await;

    // The whole folder.
    let (folder, aside) = (patient.journal(), patient.site.path("aside"));
    fs::rename(&folder, &aside).unwrap();
    patient.is_missing_its_journal(&segment, "is gone while the daemon writes to it: put it back").await;
    fs::rename(&aside, &folder).unwrap();
    patient.works_again(daemon).await;
}

#[tokio::test]
async fn a_replaced_journal_is_not_written_to() {
    let (mut patient, daemon) = serving().await;
    let (segment, aside) = (patient.segments()[patient.last()].clone(), patient.site.path("aside.log"));
    fs::hard_link(&segment, &aside).unwrap();
    let copy = patient.site.path("copy.log");
    let bytes = fs::copy(&segment, &copy).unwrap();
    fs::rename(&copy, &segment).unwrap();
    let before = fs::read(&segment).unwrap();
    assert_eq!(before.len() as u64, bytes);
    patient.is_missing_its_journal(&segment, "was replaced by another file").await;
    assert!(fs::read(&segment).unwrap() == before, "the stranger was written to");
    fs::rename(&aside, &segment).unwrap();
    patient.works_again(daemon).await;
}

#[tokio::test]
async fn a_journal_that_was_cut_is_restored_from_a_copy() {
    let (mut patient, daemon) = serving().await;
    let (segment, copy) = (patient.segments()[patient.last()].clone(), patient.site.path("copy.log"));
    fs::copy(&segment, &copy).unwrap();
    let end = patient.lines(patient.last()).concat().len() as u64;
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(end / 2).unwrap();
    patient
        .is_missing_its_journal(
            &segment,
            &format!("was cut to {} bytes while the daemon writes to it", end / 2),
        )
        .await;
    assert_eq!(fs::metadata(&segment).unwrap().len(), end / 2, "what is left was written to");

    // It ends in order all the same, and does not start again on what is left.
    assert!(daemon.stop().await.success());
    let log = patient.refuses().await;
    assert!(log.contains("Restore the journal from a copy"), "{log}");
    fs::rename(&copy, &segment).unwrap();
    let daemon = Daemon::start(&patient.site).await;
    patient.works_again(daemon).await;
}
