//! `[ledger]`: the durable state.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// Whether journal files that are closed, and that a snapshot has made superfluous for the live state, are compressed.
    pub compress: bool,
    /// Where such files are moved to; without it, they stay.
    pub archive: Option<Archive>,
    /// Where `dir` stands.
    pub place: Place,
}

/// `[ledger.archive]`: where closed journal files go, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// A directory that is this broker's own.
    pub directory: PathBuf,
    /// A file goes when its last record is so old.
    pub after_age: Duration,
    /// The oldest go while the closed files take more than this together.
    pub after_size: Size,
}

const DEFAULT_SEGMENT: Size = Size(64 << 20);
const SMALLEST_SEGMENT: Size = Size(1 << 20);
const LARGEST_SEGMENT: Size = Size(4 << 30);
const DEFAULT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
const DEFAULT_SIZE: Size = Size(1 << 30);
const LONGEST_AGE: Duration = Duration::from_secs(3650 * 24 * 3600);
const LARGEST_SIZE: Size = Size(1 << 50);

pub(super) fn read(section: Section<'_>) -> Option<Ledger> {
    section.one_of("backend", ["embedded"]);
    section.otherwise("backend", &"embedded".to_owned());
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
    let compress = compress(&section);
    let archive = section.try_section("archive").and_then(|section| archive(section, dir.as_deref()));
    let place = section.place_of("dir");
    section.finish();
    let node = node.map(|found| found.value);
    Some(Ledger { dir: dir?, node, segment_size, compress, archive, place })
}

fn compress(section: &Section<'_>) -> bool {
    section.one_of("compress", ["none", "zstd"]);
    section.otherwise("compress", &"none".to_owned());
    let Some(found) = section.take::<String>("compress") else { return false };
    match found.value.as_str() {
        "zstd" => true,
        "none" => false,
        other => {
            section.fault(
                found.place,
                format!("`compress` cannot be `{other}`"),
                "`compress` is `\"zstd\"` or `\"none\"`",
            );
            false
        }
    }
}

fn archive(section: Section<'_>, state: Option<&Path>) -> Option<Archive> {
    let directory = section.required_path("directory");
    if let (Some(directory), Some(state)) = (&directory, state)
        && directory.starts_with(state)
    {
        section.fault(
            section.place_of("directory"),
            "the archive is in the state directory",
            "`directory` is outside of `dir`: on another disk, at best",
        );
    }
    let after_age = section.within("after_age", DEFAULT_AGE, Duration::from_secs(60)..=LONGEST_AGE);
    let after_size = section.within("after_size", DEFAULT_SIZE, Size(0)..=LARGEST_SIZE);
    section.finish();
    Some(Archive { directory: directory?, after_age, after_size })
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
    fn an_archive_has_a_place_and_a_rule() {
        let ledger =
            read_section("dir = '/s'\ncompress = 'zstd'\narchive = {directory = '/a'}", read).unwrap();
        let usual = Archive { directory: "/a".into(), after_age: DEFAULT_AGE, after_size: DEFAULT_SIZE };
        assert_eq!((ledger.compress, ledger.archive), (true, Some(usual)));
        let ledger = read_section(
            "dir = '/s'\narchive = {directory = '/a', after_age = '90d', after_size = '10GiB'}",
            read,
        );
        let archive = ledger.unwrap().archive.unwrap();
        assert_eq!((archive.after_age.as_secs(), archive.after_size), (90 * 86_400, Size(10 << 30)));
    }

    #[test]
    fn embedded_is_what_there_is() {
        let ledger = read_section("dir = '/var/lib/leasehold'", read).unwrap();
        assert_eq!((ledger.node, ledger.segment_size), (None, DEFAULT_SEGMENT));
        assert_eq!((ledger.compress, ledger.archive), (false, None));
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
            ("compress = 'gzip'", "`compress` cannot be `gzip`"),
            ("dir = '/s'\narchive = {}", "`directory` is missing in [archive]"),
            ("dir = '/s'\narchive = {directory = '/s/a'}", "the archive is in the state directory"),
            ("dir = '/s'\narchive = {directory = '/a', after_age = '1s'}", "`after_age` in [archive] is 1s"),
            ("dir = '/s'\narchive = {directory = '/a', after_sise = '1GiB'}", "`after_size`"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
