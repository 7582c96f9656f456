//! `[clock]`: how the machine's time of day is followed when it jumps.

use std::time::Duration;

use super::section::Section;
use crate::clock::Rules;

pub(super) fn read(section: Section<'_>) -> Rules {
    let d = Rules::default();
    let minutes = |n: u64| Duration::from_secs(n.saturating_mul(60));
    let rules = Rules {
        tolerance: section.within("tolerance", d.tolerance, Duration::from_secs(1)..=minutes(60)),
        settle: section.within("settle", d.settle, minutes(1)..=minutes(43_200)),
    };
    section.finish();
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn both_have_defaults_and_bounds() {
        let read = |toml: &str| read_section(toml, |section| Some(read(section)));
        assert_eq!(read("").unwrap(), Rules::default());
        let set = read("tolerance = '5s'\nsettle = '10m'").unwrap();
        assert_eq!((set.tolerance.as_secs(), set.settle.as_secs()), (5, 600));
        let faults = faults_of("tolerance = '0s'\nsettle = '1s'", |section| Some(super::read(section)));
        assert!(faults.contains("`tolerance`") && faults.contains("`settle`"), "{faults}");
    }
}
