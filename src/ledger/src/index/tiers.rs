//! Which runs to merge: those of like size, so that an entry is written anew a few times in all, however many there are;
//! and everything, when too much of it is deletions.

use std::ops::Range;

use super::store::RunFacts;

/// As many runs of one tier make one of the next. With fewer, entries are written anew more often; with more, there are
/// more runs to look into.
const FAN_IN: usize = 6;
/// The first tier's limit.
const TIER_BYTES: u64 = 8 * 1024 * 1024;
/// Fewer deletions than this are not worth a merge of their own.
const FEW_DELETIONS: u64 = 50_000;

/// The runs to merge next, as a range of `runs`, which has the newest first. Only neighbours are merged, so that the
/// order by age remains.
pub(crate) fn choose(runs: &[RunFacts]) -> Option<Range<usize>> {
    let keys = runs.iter().map(|run| run.keys).fold(0, u64::saturating_add);
    let deleted = runs.iter().map(|run| run.deleted).fold(0, u64::saturating_add);
    if deleted > FEW_DELETIONS && deleted.saturating_mul(4) > keys {
        return Some(0..runs.len());
    }
    (0..runs.len()).find_map(|from| {
        let rest = runs.get(from..)?;
        let limit = tier(rest.first()?);
        let alike = rest.iter().take_while(|run| tier(run) <= limit).count();
        (alike >= FAN_IN).then(|| from..from.saturating_add(alike))
    })
}

/// Whether new runs come faster than they are merged.
pub(crate) fn is_behind(runs: &[RunFacts]) -> bool {
    runs.iter().take_while(|run| tier(run) == 0).count() >= FAN_IN.saturating_mul(2)
}

fn tier(run: &RunFacts) -> u32 {
    (run.bytes / TIER_BYTES).checked_ilog2().map_or(0, |log| (log / 2).saturating_add(1))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test")]
mod tests {
    use super::*;

    fn runs(megabytes: &[u64]) -> Vec<RunFacts> {
        let run = |mb: &u64| RunFacts { id: 1, keys: mb * 10_000, deleted: 0, bytes: mb << 20, filter: 0 };
        megabytes.iter().map(run).collect()
    }

    #[test]
    fn runs_of_like_size_are_merged() {
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&runs(&[4, 4, 4, 4, 4])), None);
        assert_eq!(choose(&runs(&[4, 4, 4, 4, 4, 4])), Some(0..6));
        assert_eq!(choose(&runs(&[4, 4, 4, 4, 4, 4, 20])), Some(0..6));
        assert_eq!(choose(&runs(&[4, 20, 20, 20, 20, 20, 20, 500])), Some(1..7));
        // A small run between larger ones is taken along: leaving it out would change the order by age.
        assert_eq!(choose(&runs(&[20, 4, 20, 20, 20, 20])), Some(0..6));
        assert_eq!(choose(&runs(&[4, 20, 80, 400, 1600, 6400])), None);
    }

    #[test]
    fn it_is_behind_when_what_one_merge_leaves_would_make_another() {
        assert!(!is_behind(&runs(&[4, 4, 4, 4, 4, 4, 4, 20, 20, 20, 20, 20, 20])));
        assert!(is_behind(&runs(&[4; 12])));
    }

    #[test]
    fn many_deletions_are_swept_out() {
        let mut runs = runs(&[4, 400]);
        runs[0].deleted = 40_000;
        assert_eq!(choose(&runs), None);
        runs[0].deleted = 2_000_000;
        assert_eq!(choose(&runs), Some(0..2));
    }

    #[test]
    fn every_entry_is_rewritten_a_few_times_only() {
        // Ten thousand flushes of 5 MiB, as if 50 GiB went through: how many bytes do the merges write?
        let mut runs: Vec<RunFacts> = Vec::new();
        let mut rewritten = 0;
        let mut most = 0;
        for _ in 0..10_000 {
            runs.insert(0, self::runs(&[5])[0]);
            while let Some(range) = choose(&runs) {
                let bytes = runs[range.clone()].iter().map(|run| run.bytes).sum::<u64>();
                rewritten += bytes;
                runs.splice(range, [RunFacts { bytes, ..self::runs(&[1])[0] }]);
            }
            most = most.max(runs.len());
        }
        assert!(rewritten < 5 * 10_000 * (5 << 20), "{} times", rewritten / (10_000 * (5 << 20)));
        assert!(most <= 26, "{most} runs");
    }
}
