//! The pools of psycopg on a real PostgreSQL, as somebody runs them who copies the examples.

use std::{collections::BTreeMap, path::Path, process::Command};

use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_tests::{
    daemon::{self, Daemon},
    logins, rotations,
    site::{SECRET, Site},
};

use super::{Conversation, as_workload, package, python};
use crate::users;

/// An example that queries until its input ends.
fn begin(python: &Path, example: &str, postgres: &Postgres, site: &Site) -> Conversation {
    let mut command = Command::new(python);
    command.arg("-B").arg(package().join("examples").join(example)).env("PYTHONPATH", package().join("src"));
    command.args(["127.0.0.1", &postgres.address().port().to_string(), SECRET]);
    let mut begun = Conversation::begin(as_workload(&mut command, site));
    assert_eq!(begun.line().as_deref(), Some("querying"));
    begun
}

/// How many queries there were as each user. None failed.
fn counted(example: Conversation) -> BTreeMap<String, u64> {
    let (said, well) = example.end();
    let count = |line: &String| {
        let (user, count) = line.split_once(": ").unwrap();
        (user.to_owned(), count.parse().unwrap())
    };
    let counts: BTreeMap<String, u64> = said.iter().map(count).collect();
    assert!(well && !counts.contains_key("failed"), "{said:?}");
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_through_five_rotations() {
    let Some(python) = python() else { return };
    let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
    postgres.run(logins::SETUP).await.unwrap();
    let site = logins::site(&postgres);
    let broker = Daemon::start(&site).await;
    let operator = daemon::operator(&site).await.operator();
    operator.write_secret(logins::first()).await.unwrap();
    let pools = ["postgres.py", "postgres_async.py"].map(|example| begin(&python, example, &postgres, &site));
    for number in 1..=5 {
        // It is over when the old password was tried, and is dead: both pools have let go of it.
        let rotation = rotations::rotate(&operator, &SECRET.parse().unwrap()).await;
        assert_eq!(rotation.serial, number);
    }
    for counts in pools.map(counted) {
        assert!(counts["payments_a"] > 0 && counts["payments_b"] > 0, "{counts:?}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_when_users_of_its_own_reach_their_longest_life() {
    let Some(python) = python() else { return };
    let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
    postgres.run(users::SETUP).await.unwrap();
    let site = users::site(&postgres);
    let broker = Daemon::start(&site).await;
    let workload = site.client("workload").connect().await.unwrap();
    let pools = ["postgres.py", "postgres_async.py"].map(|example| begin(&python, example, &postgres, &site));
    // Three of each.
    users::come_and_go(&workload, 6).await;
    for counts in pools.map(counted) {
        assert!(counts.len() >= 3 && counts.values().sum::<u64>() > 100, "{counts:?}");
    }
    broker.stop().await;
    // Closed, they have given back what they held last, too.
    let left = "SELECT count(*)::text FROM pg_stat_activity WHERE usename NOT IN ('leasehold', current_user)";
    assert_eq!(postgres.run(left).await.unwrap(), [["0"]], "no user is signed in any more");
}
