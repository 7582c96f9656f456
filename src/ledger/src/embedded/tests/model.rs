//! Whatever happens, the embedded ledger holds what the one in memory holds.

use proptest::prelude::*;

use super::*;
use crate::Memory;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Option<String>)>, Option<(u8, bool)>),
    Close,
    Kill,
    Reboot,
    LoseIndex,
    Damage,
}

fn step() -> impl Strategy<Value = Step> {
    let writes = prop::collection::vec((0u8..40, prop::option::weighted(0.7, "[a-z]{0,40}")), 0..6);
    let condition = prop::option::of((0u8..40, any::<bool>()));
    prop_oneof![
        20 => (writes, condition).prop_map(|(writes, condition)| Step::Commit(writes, condition)),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::Reboot),
        1 => Just(Step::LoseIndex),
        1 => Just(Step::Damage),
    ]
}

fn name(n: u8) -> Key {
    key(&format!("{}/{n:02}", if n.is_multiple_of(2) { "even" } else { "odd" }))
}

async fn run(steps: Vec<Step>, home: &mut Home) {
    let model = Memory::new();
    let (mut ledger, _) = home.open();
    // Snapshots have records of their own, so that revisions are compared by rank.
    let mut theirs = vec![0];
    let mut ours = vec![0];
    for step in steps {
        match step {
            Step::Commit(writes, condition) => {
                let writes: Vec<_> = writes
                    .into_iter()
                    .map(|(n, value)| Write { key: name(n), value: value.map(|v| v.into_bytes().into()) })
                    .collect();
                let mut conditions = (Vec::new(), Vec::new());
                if let Some((n, right)) = condition {
                    match (model.get(&name(n)).await.unwrap(), right) {
                        (Some(entry), true) => {
                            let rank = theirs.iter().position(|r| *r == entry.revision).unwrap();
                            conditions.0.push(Condition::Unchanged(name(n), entry.revision));
                            conditions.1.push(Condition::Unchanged(name(n), ours[rank]));
                        }
                        _ => {
                            conditions.0.push(Condition::Absent(name(n)));
                            conditions.1.push(Condition::Absent(name(n)));
                        }
                    }
                }
                let expected = model.commit(commit(conditions.0, writes.clone())).await;
                let found = ledger.commit(commit(conditions.1, writes)).await;
                match (expected, found) {
                    (Ok(their), Ok(our)) => {
                        theirs.push(their);
                        ours.push(our);
                    }
                    (expected, found) => assert_eq!(expected, found),
                }
            }
            Step::Close => {
                ledger.close().await;
                drop(ledger);
                ledger = home.open().0;
            }
            Step::Kill => {
                drop(ledger);
                ledger = home.open().0;
            }
            Step::Reboot => {
                drop(ledger);
                home.boot_id.push('x');
                ledger = home.open().0;
            }
            Step::LoseIndex => {
                drop(ledger);
                std::fs::remove_dir_all(home.path("index")).unwrap();
                ledger = home.open().0;
            }
            Step::Damage => {
                drop(ledger);
                for entry in std::fs::read_dir(home.path("index/runs")).unwrap() {
                    let path = entry.unwrap().path();
                    let mut bytes = std::fs::read(&path).unwrap();
                    bytes.pop();
                    std::fs::write(path, bytes).unwrap();
                }
                ledger = home.open().0;
            }
        }
        let ranks = |all: Vec<(String, Vec<u8>, Revision)>, revisions: &[Revision]| {
            let rank = |r: Revision| revisions.iter().position(|known| *known == r).unwrap();
            all.into_iter().map(|(key, value, r)| (key, value, rank(r))).collect::<Vec<_>>()
        };
        let expected = ranks(all(&model).await, &theirs);
        assert_eq!(ranks(all(&ledger).await, &ours), expected);
        for (key, value, rank) in expected {
            let entry = ledger.get(&Key::from_stored(&key)).await.unwrap().unwrap();
            assert_eq!((entry.value.expose(), entry.revision), (&value[..], ours[rank]));
        }
        for range in [KeyRange::prefix("even/1"), KeyRange::prefix("odd/").after(&name(7))] {
            let keys =
                |entries: Vec<Entry>| entries.into_iter().map(|e| e.key.to_string()).collect::<Vec<_>>();
            let found = keys(ledger.scan(&range, 3).await.unwrap());
            assert_eq!(found, keys(model.scan(&range, 3).await.unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_was_committed(
        steps in prop::collection::vec(step(), 1..60),
        bytes in prop_oneof![Just(1usize), Just(600), Just(1 << 20)],
        snapshot_records in prop_oneof![Just(10u64), Just(1000)],
        put_away: bool,
    ) {
        let mut home = Home {
            limits: Limits { bytes, records: 16 },
            snapshot_records,
            segment_bytes: 8 * 1024,
            ..Home::new()
        };
        if put_away {
            let (directory, after_age) = (home.path("archive"), std::time::Duration::MAX);
            home.closed.pack = true;
            home.closed.archive = Some(ArchiveRule { directory, after_age, after_bytes: 0 });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps, &mut home));
    }
}
