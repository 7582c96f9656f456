//! Whether files are still the ones that were read.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// What some files are like. A link that is swapped, a file that is replaced and one that is written over all change it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark(Vec<Option<[u64; 5]>>);

impl Mark {
    pub(super) fn of(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        Self(paths.into_iter().map(|path| mark(path.as_ref())).collect())
    }
}

fn mark(path: &Path) -> Option<[u64; 5]> {
    let facts = fs::metadata(path).ok()?;
    let bits = i64::cast_unsigned;
    Some([facts.dev(), facts.ino(), facts.size(), bits(facts.mtime()), bits(facts.mtime_nsec())])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut seen: Vec<Mark> = Vec::new();
        let mut look = |what: &str| {
            let now = Mark::of([at("link/tls.crt")]);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        look("nothing is there");
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("tls.crt"), "same").unwrap();
        }
        symlink("one", at("link")).unwrap();
        look("it appears");
        symlink("two", at("next")).unwrap();
        fs::rename(at("next"), at("link")).unwrap();
        look("the link is swapped");
        fs::write(at("two/tls.crt"), "longer").unwrap();
        look("it is written over");
        fs::write(at("two/new"), "longer").unwrap();
        fs::rename(at("two/new"), at("two/tls.crt")).unwrap();
        look("it is replaced");
    }
}
