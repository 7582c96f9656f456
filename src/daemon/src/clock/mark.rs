//! What is kept of the clock across restarts: a small file in the state directory, no older than half a minute.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use leasehold_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The clock as it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which start of the machine it was: within the same one, the machine's ticks go on.
    pub boot: String,
    /// What was added to the ticks, in nanoseconds.
    pub offset: i64,
    /// The latest time that there was.
    pub time: Timestamp,
    /// What was recorded up to this time was dated by a clock that was ahead, and that a person has taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrusted: Option<Timestamp>,
}

/// What a clock goes on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What is added to the machine's ticks, when they have gone on since.
    pub offset: Option<i64>,
    /// The time is no earlier than this.
    pub floor: Option<Timestamp>,
}

const FILE: &str = "clock";
/// The file until it is whole.
const UNFINISHED: &str = "clock.new";

impl Mark {
    /// The mark in a state directory; `None` when there is none that can be read.
    pub fn read(dir: &Path) -> Option<Self> {
        let text = match fs::read(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "what was kept of the clock cannot be read");
                return None;
            }
        };
        let mark = serde_json::from_slice(&text);
        mark.inspect_err(|error| tracing::warn!(%error, "what was kept of the clock is not readable")).ok()
    }

    /// Replaces the mark, durably.
    ///
    /// # Errors
    /// When it cannot be written; the one before stands.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join(UNFINISHED);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(unfinished, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }

    /// What the clock goes on from in this start of the machine, when `recorded` is the last time in the journal.
    pub fn kept(mark: Option<&Self>, boot: &str, recorded: Option<Timestamp>) -> Kept {
        let Some(mark) = mark else { return Kept { offset: None, floor: recorded } };
        // Records that a person distrusts say nothing of the time.
        let recorded =
            recorded.filter(|recorded| mark.distrusted.is_none_or(|distrusted| *recorded > distrusted));
        Kept {
            offset: (mark.boot == boot).then_some(mark.offset),
            floor: Some(recorded.map_or(mark.time, |recorded| recorded.max(mark.time))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn mark() -> Mark {
        Mark { boot: "b1".to_owned(), offset: 7, time: at(100), distrusted: None }
    }

    #[test]
    fn a_mark_comes_back_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(dir.path()), None);
        mark().write(dir.path()).unwrap();
        let later = Mark { time: at(130), ..mark() };
        later.write(dir.path()).unwrap();
        assert_eq!(Mark::read(dir.path()), Some(later));
        fs::write(dir.path().join(FILE), "{\"boot\":").unwrap();
        assert_eq!(Mark::read(dir.path()), None);
    }

    #[test]
    fn ticks_go_on_within_one_start_of_the_machine_only() {
        let kept = Mark::kept(Some(&mark()), "b1", Some(at(90)));
        assert_eq!(kept, Kept { offset: Some(7), floor: Some(at(100)) });
        let kept = Mark::kept(Some(&mark()), "b2", Some(at(110)));
        assert_eq!(kept, Kept { offset: None, floor: Some(at(110)) });
        assert_eq!(Mark::kept(None, "b1", Some(at(90))), Kept { offset: None, floor: Some(at(90)) });
    }

    #[test]
    fn what_a_person_distrusts_is_no_floor() {
        let taken_back = Mark { distrusted: Some(at(9_000)), ..mark() };
        assert_eq!(Mark::kept(Some(&taken_back), "b2", Some(at(9_000))).floor, Some(at(100)));
        assert_eq!(Mark::kept(Some(&taken_back), "b2", Some(at(9_001))).floor, Some(at(9_001)));
    }
}
