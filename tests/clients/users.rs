//! A secret whose every lease has a user of PostgreSQL made for it, for a short life.

use std::collections::BTreeSet;

use leasehold_client::{Client, LeaseState};
use leasehold_provider_conformance::peers::Postgres;
use leasehold_tests::{
    site::{Plan, SECRET, Site},
    wait::until,
};

/// What the server is told first.
pub(crate) const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE PASSWORD 'of-the-broker-itself'; \
    CREATE ROLE payments_read NOLOGIN; GRANT payments_read TO leasehold WITH ADMIN OPTION";

/// Each user lives for nine seconds at most.
pub(crate) fn site(postgres: &Postgres) -> Site {
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\nuser = \"leasehold\"\n\
             password_file = \"pg-password\"\ntls = \"disable\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"pg\"\ngrants = [\"payments_read\"]\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"pg\"\nrole = \"app\"\nttl = \"6s\"\nmax_ttl = \"9s\"\n",
            postgres.address()
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("pg-password", "of-the-broker-itself");
    site
}

/// Waits until the workload has had so many users and let go of each before its time.
pub(crate) async fn come_and_go(workload: &Client, users: usize) {
    let mut gone = BTreeSet::new();
    for number in 1..=users {
        // Each has its own patience: it takes most of a user's life.
        until(&format!("user {number} is let go of"), async || {
            let given_back = workload.list_leases(&[LeaseState::Revoked], 0, None).await.unwrap().items;
            gone.extend(given_back.into_iter().map(|lease| lease.id));
            gone.len() >= number
        })
        .await;
    }
    let expired = workload.list_leases(&[LeaseState::Expired], 0, None).await.unwrap().items;
    assert!(expired.is_empty(), "somebody held a user to the end of its life: {expired:?}");
}
