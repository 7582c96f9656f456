//! `[rotation]`: how much is rotated at once; and the `rotation` of a `[[secret]]` or `[[mount]]`.

mod generator;
mod plan;
mod schedule;

use std::time::Duration;

pub(super) use self::plan::{Rotated, Told, check, read as read_plan};
use super::section::Section;

/// How much is rotated at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// So many secrets of one provider.
    pub at_once: u32,
    /// Over how long secrets are spread whose time came while the broker was not running, or whose schedule was changed.
    pub catch_up: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { at_once: 4, catch_up: Duration::from_secs(300) }
    }
}

pub(super) fn read(section: Section<'_>) -> Rotation {
    const DAY: Duration = Duration::from_secs(86_400);
    let default = Rotation::default();
    let rotation = Rotation {
        at_once: section.within("at_once", default.at_once, 1..=1000),
        catch_up: section.within("catch_up", default.catch_up, Duration::ZERO..=DAY),
    };
    section.finish();
    rotation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn it_has_bounds() {
        let read = |section: Section<'_>| Some(read(section));
        assert_eq!(read_section("", read).unwrap(), Rotation::default());
        let own = read_section("at_once = 9\ncatch_up = '0s'", read).unwrap();
        assert_eq!(own, Rotation { at_once: 9, catch_up: Duration::ZERO });
        for (toml, expected) in [
            ("at_once = 0", "it must be between 1 and 1000"),
            ("catch_up = '2d'", "it must be between 0s and 1d"),
            ("at_onse = 2", "did you mean `at_once`?"),
        ] {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
