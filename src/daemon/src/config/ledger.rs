//! `[ledger]`: the durable state.

use std::path::PathBuf;

use super::{Size, fault::Place, section::Section};

/// Where the state is and how its journal grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The state directory, which belongs to this broker alone.
    pub dir: PathBuf,
    /// The name that journal records carry; the machine's own when nothing is said.
    pub node: Option<String>,
    /// How large one preallocated journal file is.
    pub segment_size: Size,
    /// Where `dir` stands.
    pub place: Place,
}

const DEFAULT_SEGMENT: Size = Size(64 << 20);
const SMALLEST_SEGMENT: Size = Size(1 << 20);
const LARGEST_SEGMENT: Size = Size(4 << 30);

pub(super) fn read(section: Section<'_>) -> Option<Ledger> {
    if let Some(backend) = section.take::<String>("backend") {
        match backend.value.as_str() {
            "embedded" => {}
            "etcd" => section.fault(
                backend.place,
                "`backend = \"etcd\"` is not in this build",
                "use `backend = \"embedded\"`, with one broker to a state directory",
            ),
            other => section.fault(
                backend.place,
                format!("there is no ledger `{other}`"),
                "`backend` is `\"embedded\"`",
            ),
        }
    }
    let dir = section.required_path("dir");
    let node = section.take::<String>("node");
    if let Some(found) = node.as_ref().filter(|found| !is_node(&found.value)) {
        let message = format!("`{}` is not a node's name", found.value);
        section.fault(
            found.place.clone(),
            message,
            "a node's name is 1 to 64 characters of A-Z a-z 0-9 . _ -",
        );
    }
    let segment_size = section.within("segment_size", DEFAULT_SEGMENT, SMALLEST_SEGMENT..=LARGEST_SEGMENT);
    let place = section.place_of("dir");
    section.finish();
    Some(Ledger { dir: dir?, node: node.map(|found| found.value), segment_size, place })
}

/// Whether a text can name a node in the journal.
pub(crate) fn is_node(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn embedded_is_what_there_is() {
        let ledger = read_section("dir = '/var/lib/leasehold'", read).unwrap();
        assert_eq!((ledger.node, ledger.segment_size), (None, DEFAULT_SEGMENT));
        let cases = [
            ("", "`dir` is missing"),
            ("backend = 'etcd'", "not in this build"),
            ("backend = 'sled'", "there is no ledger `sled`"),
            (
                "segment_size = '1KiB'",
                "`segment_size` in [section] is 1KiB\n    it must be between 1MiB and 4GiB",
            ),
            ("segment_size = 64", "must be a size such as `64MiB`"),
            ("node = 'a b'", "`a b` is not a node's name"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
