//! Scans over what was taken away: the index steps over it, and sees what comes back.

use std::{collections::BTreeMap, ops::Range};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u32>),
    Remove(Range<u32>),
    Scan(u32, u32, usize),
}

fn name(n: u32) -> String {
    format!("due/{n:04}")
}

fn step() -> impl Strategy<Value = Step> {
    let stretch = (0..1000u32, 64..500u32).prop_map(|(from, length)| from..from.saturating_add(length));
    prop_oneof![
        1 => prop::collection::vec(0..1000u32, 1..20).prop_map(Step::Put),
        1 => (0..900u32).prop_map(|from| Step::Put((from..from.saturating_add(100)).collect())),
        1 => stretch.prop_map(Step::Remove),
        4 => (0..1000u32, 0..1200u32, 1..100usize).prop_map(|(from, to, limit)| Step::Scan(from, to, limit)),
        2 => Just(Step::Scan(0, 2000, 1)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_sees_what_is_there(
        steps in prop::collection::vec(step(), 1..60),
        bytes in prop_oneof![Just(1usize), Just(20_000), Just(1 << 20)],
    ) {
        let home = Home { limits: Limits { bytes, records: 1_000_000 }, ..Home::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ledger, _) = home.open();
            let mut there = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(keys) => {
                        let writes = keys.iter().map(|n| put(&name(*n), "v")).collect();
                        let revision = ledger.commit(commit(vec![], writes)).await.unwrap();
                        there.extend(keys.iter().map(|n| (name(*n), revision)));
                    }
                    Step::Remove(keys) => {
                        let writes = keys.clone().map(|n| Write::delete(key(&name(n)))).collect();
                        ledger.commit(commit(vec![], writes)).await.unwrap();
                        keys.for_each(|n| {
                            there.remove(&name(n));
                        });
                    }
                    Step::Scan(from, to, limit) => {
                        let range = KeyRange { from: key(&name(from)), to: key(&name(to)) };
                        let found = ledger.scan(&range, limit).await.unwrap();
                        let found: Vec<_> = found.iter().map(|e| (e.key.to_string(), e.revision)).collect();
                        let within = there.iter().filter(|(k, _)| **k >= name(from) && **k < name(to));
                        let expected: Vec<_> = within.take(limit).map(|(k, r)| (k.clone(), *r)).collect();
                        assert_eq!(found, expected);
                    }
                }
            }
        });
    }
}
