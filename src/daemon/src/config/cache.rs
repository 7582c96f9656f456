//! `[cache]`: secret values in memory.

use super::{Size, section::Section};

/// How much memory values may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// All values together.
    pub size: Size,
}

impl Default for Cache {
    fn default() -> Self {
        Self { size: Size(16 << 20) }
    }
}

pub(super) fn read(section: Section<'_>) -> Cache {
    let cache = Cache { size: section.within("size", Cache::default().size, Size(0)..=Size(16 << 30)) };
    section.finish();
    cache
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::read_section;

    #[test]
    fn nothing_may_be_kept() {
        let size = |toml: &str| read_section(toml, |section| Some(read(section))).unwrap().size;
        assert_eq!(size(""), Size(16 << 20));
        assert_eq!(size("size = '0B'"), Size(0));
    }
}
