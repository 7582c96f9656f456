//! Nobody who uses what is lent fails to log in, however often it is rotated.

use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_tests::logins;

#[tokio::test(flavor = "multi_thread")]
async fn no_login_fails_through_twenty_rotations_and_every_old_password_is_dead() {
    let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
    let outcome = logins::through(postgres, 20).await;
    assert_eq!(outcome.failed, Vec::<String>::new(), "of {} logins", outcome.tried);
    assert_eq!(outcome.alive, Vec::<usize>::new(), "old passwords that are still accepted");
    assert!(outcome.tried > 20 && outcome.retired == 20, "{outcome:?}");
}
