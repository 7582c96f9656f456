//! Turns, times and ages, without a broker.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn path(name: &str) -> SecretPath {
    format!("prod/{name}").parse().unwrap()
}

fn home(name: &str) -> Home {
    Some(name.parse().unwrap())
}

fn plan(at: Timestamp) -> Plan {
    Plan { home: home("main"), at: Some(at), ..Plan::default() }
}

fn start(table: &mut Table, at_once: usize) -> Vec<String> {
    let started = table.start(at_once, |_| false);
    started.into_iter().map(|(path, _)| path.as_str().trim_start_matches("prod/").to_owned()).collect()
}

#[test]
fn each_is_started_once_when_its_time_comes() {
    let mut table = Table::default();
    assert!(table.expect(&path("b"), home("main"), at(20), false));
    assert!(table.expect(&path("a"), home("main"), at(10), false));
    assert!(!table.expect(&path("a"), home("main"), at(15), false));
    assert_eq!(table.next(), at(10));
    table.advance(at(9));
    assert!(start(&mut table, 4).is_empty());
    table.advance(at(10));
    assert_eq!(start(&mut table, 4), ["a"]);
    table.advance(at(25));
    assert_eq!(start(&mut table, 4), ["b"]);
    assert_eq!((table.next(), start(&mut table, 4).len()), (Timestamp::MAX, 0));
    assert_eq!(table.sight(&path("a")), Some(Sight::Running));
}

#[test]
fn a_provider_has_so_many_turns_and_no_more() {
    let mut table = Table::default();
    for name in ["a", "b", "c"] {
        table.expect(&path(name), home("main"), at(0), false);
    }
    table.expect(&path("d"), home("other"), at(0), false);
    table.advance(at(0));
    assert_eq!(start(&mut table, 2), ["a", "b", "d"]);
    assert_eq!(table.sight(&path("c")), Some(Sight::Queued { home: home("main"), behind: 2 }));
    assert_eq!(table.counts(), [4, 1, 3, 0]);
    table.done(path("b"), &home("main"), plan(at(100)));
    assert_eq!(start(&mut table, 2), ["c"]);
    assert_eq!(table.sight(&path("b")), Some(Sight::Waits { at: Some(at(100)), late: None }));
}

#[test]
fn who_is_waited_for_comes_first() {
    let mut table = Table::default();
    for n in 0..100 {
        table.expect(&path(&format!("s{n}")), home("main"), at(0), false);
    }
    table.advance(at(0));
    assert_eq!(start(&mut table, 1), ["s0"]);
    // Queued already, and then somebody asks for it.
    assert!(table.expect(&path("s77"), home("main"), at(0), true));
    assert_eq!(table.sight(&path("s77")), Some(Sight::Queued { home: home("main"), behind: 1 }));
    table.done(path("s0"), &home("main"), Plan::default());
    assert_eq!(start(&mut table, 2), ["s77", "s1"]);
    let mut all = 2;
    while let [name] = start(&mut table, 3).as_slice() {
        assert_ne!(name, "s77");
        table.done(path(name), &home("main"), Plan::default());
        all += 1;
    }
    assert_eq!(all, 99);
}

#[test]
fn what_is_expected_while_it_is_looked_at_is_looked_at_again() {
    let mut table = Table::default();
    table.expect(&path("a"), home("main"), at(0), false);
    table.advance(at(0));
    assert_eq!(start(&mut table, 1), ["a"]);
    table.expect(&path("a"), home("main"), at(1), true);
    table.done(path("a"), &home("main"), plan(at(900)));
    table.advance(at(1));
    assert_eq!(start(&mut table, 1), ["a"]);
    table.done(path("a"), &home("main"), Plan::default());
    assert!(!table.knows(&path("a")));
    assert_eq!(table.counts(), [0; 4]);
}

#[test]
fn a_resting_provider_keeps_its_queue_and_hinders_nobody_else() {
    let mut table = Table::default();
    table.expect(&path("a"), home("main"), at(0), false);
    table.expect(&path("b"), home("other"), at(0), false);
    table.advance(at(0));
    let rests = |name: &ProviderName| name.as_str() == "main";
    assert_eq!(table.start(4, rests), [(path("b"), home("other"))]);
    assert!(table.is_anybody_queued(rests));
    assert_eq!(start(&mut table, 4), ["a"]);
    assert!(!table.is_anybody_queued(rests));
}

#[test]
fn those_that_come_late_are_spread_and_each_comes_once() {
    let mut table = Table::default();
    let paths: Vec<_> = (0..10_000).map(|n| path(&format!("s{n}"))).collect();
    let all = || paths.iter().map(|path| (path.clone(), plan(at(5)))).collect::<Vec<_>>();
    let spread = leasehold_core::rotation::spread_of;
    table.replace(all(), at(1000), Duration::from_secs(300), spread);
    table.advance(at(1000));
    assert!(start(&mut table, 10_000).len() < 100);
    table.advance(at(1150));
    let half = start(&mut table, 10_000).len();
    assert!((4600..5400).contains(&half), "{half}");
    // A catalog that is read again in between moves nobody backwards.
    table.replace(all(), at(1151), Duration::from_secs(300), spread);
    table.advance(at(1452));
    let running = table.counts()[2];
    assert_eq!(table.counts(), [10_000, 10_000 - running, running, 0]);
    let rest = start(&mut table, 20_000).len();
    assert_eq!((rest + running, table.counts()[2]), (10_000, 10_000));
}

#[test]
fn few_that_come_late_need_not_wait() {
    let mut table = Table::default();
    table.replace(vec![(path("a"), plan(at(5)))], at(1000), Duration::from_secs(300), |_| u64::MAX);
    assert!(table.next() <= at(1001));
    let mut closing = plan(at(5));
    closing.until = Some(at(1010));
    let all: Vec<_> = (0..1000).map(|n| (path(&format!("s{n}")), closing.clone())).collect();
    table.replace(all, at(1000), Duration::from_secs(300), leasehold_core::rotation::spread_of);
    table.advance(at(1006));
    assert_eq!(start(&mut table, 1000).len(), 1000);
}

#[test]
fn a_catalog_without_a_secret_forgets_it_unless_it_is_looked_at() {
    let mut table = Table::default();
    for name in ["a", "b", "c"] {
        table.expect(&path(name), home("main"), at(0), false);
    }
    table.advance(at(0));
    assert_eq!(start(&mut table, 1), ["a"]);
    table.replace(vec![(path("c"), plan(at(50)))], at(1), Duration::ZERO, |_| 0);
    assert!(table.knows(&path("a")) && !table.knows(&path("b")));
    table.done(path("a"), &home("main"), Plan::default());
    // It had its turn before.
    assert_eq!(start(&mut table, 4), ["c"]);
}

#[test]
fn a_version_becomes_too_old_and_a_new_one_is_not() {
    let mut table = Table::default();
    let aged = |old_at| Plan { home: home("main"), old_at: Some(at(old_at)), ..Plan::default() };
    table.replace(vec![(path("a"), aged(10)), (path("b"), aged(30))], at(0), Duration::ZERO, |_| 0);
    assert_eq!(table.next(), at(10));
    table.advance(at(10));
    assert_eq!((table.counts()[3], table.first_too_old()), (1, Some(&path("a"))));
    table.expect(&path("a"), home("main"), at(11), true);
    table.advance(at(11));
    assert_eq!(start(&mut table, 1), ["a"]);
    assert_eq!(table.counts()[3], 1);
    table.done(path("a"), &home("main"), aged(40));
    assert_eq!((table.counts()[3], table.next()), (0, at(30)));
    table.replace(Vec::new(), at(50), Duration::ZERO, |_| 0);
    table.advance(at(50));
    assert_eq!(table.counts(), [0; 4]);
}

#[test]
fn what_becomes_expected_while_all_secrets_are_read_is_not_forgotten() {
    let mut table = Table::default();
    table.before_replace();
    for name in ["scheduled", "on-demand"] {
        table.expect(&path(name), home("main"), at(5), true);
    }
    // It was read before.
    let all = vec![(path("scheduled"), plan(at(1000)))];
    table.replace(all, at(6), Duration::ZERO, |_| 0);
    table.advance(at(6));
    assert_eq!(start(&mut table, 4), ["on-demand", "scheduled"]);
}
