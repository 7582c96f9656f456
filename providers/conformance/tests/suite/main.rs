//! The suite itself: a back end in memory passes it, and each flaw fails the case that is about it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod memory;
mod stage;

use leasehold_provider_conformance::{Against, Case, Outcome, run};

use self::{memory::Flaw, stage::Memory};

#[tokio::test(start_paused = true)]
async fn a_back_end_in_memory_passes_every_case_that_it_can_have() {
    let report = run(&Memory::new(None)).await;
    assert_eq!(report.of(Case::IrrevocableCredential), Some(&Outcome::Incapable));
    assert_eq!(report.of(Case::ThousandReads), Some(&Outcome::Passed(Against::Peer("memory"))));
    assert_eq!(report.of(Case::Throttled), Some(&Outcome::Passed(Against::Scripted)));
    assert_eq!(report.count_passed(), Case::ALL.len() - 1, "{report}");
    report.passed().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_revoked_is_judged_by_its_end() {
    let report = run(&Memory::new(Some(Flaw::CannotRevoke))).await;
    assert_eq!(report.of(Case::IrrevocableCredential), Some(&Outcome::Passed(Against::Peer("memory"))));
    assert_eq!(report.of(Case::LostCredential), Some(&Outcome::Incapable));
    report.passed().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_flaw_fails_the_case_that_is_about_it() {
    for (flaw, cases) in [
        (Flaw::ForgetsTokens, &[Case::RepeatedWrite, Case::ReusedToken, Case::LostWriteAnswer][..]),
        (Flaw::OverwritesUnseen, &[Case::VersionConflict, Case::ConcurrentWrites]),
        (Flaw::PendingIsCurrent, &[Case::PendingVersion]),
        (Flaw::KeepsEveryPending, &[Case::PendingReplaced]),
        (Flaw::DiscardsNothing, &[Case::PendingDiscarded]),
        (Flaw::PromotesOverOthers, &[Case::PromotionConflict]),
        (Flaw::ShortTokens, &[Case::LongToken]),
        (Flaw::RotatesTwice, &[Case::NativeRotation]),
        (Flaw::FinishesAtOnce, &[Case::NativeRotation]),
        (Flaw::DestroysNothing, &[Case::DestroyedVersion]),
        (Flaw::ListsTwice, &[Case::VersionsAreListed]),
        (Flaw::ReadsDisabled, &[Case::DisabledVersion]),
        (Flaw::TakesAnyName, &[Case::HostileReferences]),
        (Flaw::CallsEverythingTransient, &[Case::Denied, Case::Throttled, Case::ClockSkew]),
        (Flaw::ForgetsHints, &[Case::Throttled]),
        (Flaw::RepeatsValues, &[Case::CutInAnswer, Case::TooLargeValue]),
        (Flaw::OneCredentialForAll, &[Case::DistinctCredentials]),
        (Flaw::RevokesNothing, &[Case::CredentialRevoked, Case::LostCredential]),
        (Flaw::LeavesLostCredentials, &[Case::LostCredential]),
        (Flaw::LivesForEver, &[Case::ClampedToMaximum, Case::CredentialIssued]),
        (Flaw::RenewsTwice, &[Case::CredentialRenewed]),
        (Flaw::PretendsToEnable, &[Case::DeniedCapabilities]),
        (Flaw::BelievesEveryEnd, &[Case::EndInVain]),
        (Flaw::DoubtsEveryEnd, &[Case::VerifiedEnd, Case::EndInVain]),
        (Flaw::ListsWhatEnded, &[Case::TaggedCredentials]),
    ] {
        let report = run(&Memory::new(Some(flaw))).await;
        for case in cases {
            assert!(
                matches!(report.of(*case), Some(Outcome::Failed(_))),
                "{flaw:?} does not fail {case}:\n{report}"
            );
        }
    }
}
