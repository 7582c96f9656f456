//! `[policy]`: who may do what.

use std::path::PathBuf;

use super::{fault::Place, section::Section};

/// Where the policies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The folder of `*.cedar` files.
    pub dir: PathBuf,
    /// Where `dir` stands.
    pub place: Place,
}

/// Next to the file.
const FOLDER: &str = "policies";

pub(super) fn read(section: Section<'_>) -> Policy {
    section.otherwise("dir", &PathBuf::from(FOLDER));
    let dir = section.path("dir").unwrap_or_else(|| section.beside(FOLDER));
    let place = section.place_of("dir");
    section.finish();
    Policy { dir, place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::read_section;

    #[test]
    fn the_folder_is_next_to_the_file() {
        let dir = |toml: &str| read_section(toml, |section| Some(read(section))).unwrap().dir;
        assert_eq!(dir(""), PathBuf::from("/etc/leasehold/policies"));
        assert_eq!(dir("dir = 'p'"), PathBuf::from("/etc/leasehold/p"));
    }
}
