//! `[files]`: the directory that files are published in, and what all of them have in common.

use std::path::PathBuf;

use leasehold_config::{
    Element, Section,
    element::{Wrong, text},
};

use super::File;

/// Where files go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The directory; made when it is not there and its parent is.
    pub dir: PathBuf,
    /// Who owns the files: a user's name or number; the sidecar's own user when absent.
    pub owner: Option<String>,
    /// Their group: a name or number; the owner's, or the sidecar's own, when absent.
    pub group: Option<String>,
    /// Their permissions, where a file does not say its own.
    pub mode: Mode,
    /// Whether they go when the sidecar ends in order.
    pub remove_on_exit: bool,
    /// What becomes of the files of a secret whose lease has ended.
    pub expired: Expired,
    /// Whether the directory may be in one that everybody can write to, as the volume of a pod is: whoever shares that can
    /// put another in its place.
    pub shared_volume: bool,
}

/// What becomes of the files of a secret whose lease has ended without another to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expired {
    /// They stay as they are.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// Permissions of a file: for its owner and group only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Default for Mode {
    /// Readable by the owner, and by nobody else.
    fn default() -> Self {
        Self(0o400)
    }
}

/// The section; `None` for a fault, `Some(None)` when there are no files to publish.
pub(super) fn read(root: &Section<'_>, files: Option<&[File]>) -> Option<Option<Files>> {
    let Some(section) = root.try_section("files") else {
        if root.has("file") {
            root.fault(
                root.place(),
                "there is a [[file]], and no [files]",
                "write `[files]` with the `dir` for it",
            );
            return None;
        }
        return Some(None);
    };
    if files.is_some_and(<[File]>::is_empty) {
        section.fault(section.place(), "there is [files], and no [[file]] to put there", "write `[[file]]`");
    }
    let read = Files {
        owner: section.optional("owner"),
        group: section.optional("group"),
        mode: section.or("mode", Mode::default()),
        remove_on_exit: section.or("remove_on_exit", false),
        expired: section.or("expired", Expired::Keep),
        shared_volume: section.or("shared_volume", false),
        dir: {
            let dir = section.required_path("dir");
            section.finish();
            dir?
        },
    };
    Some(Some(read))
}

impl Element for Mode {
    const SHAPE: &'static str = "permissions for owner and group, such as `\"0400\"` or `\"0440\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        let digits = text::<Self>(value)?;
        let octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| octal).ok_or_else(Wrong::shape::<Self>)?;
        if mode & 0o007 != 0 {
            return Err(Wrong("lets everybody on the machine in: the last digit is 0".to_owned()));
        }
        if mode & !0o660 != 0 {
            return Err(Wrong(
                "has bits that a file with a secret does not need: only reading and writing".to_owned(),
            ));
        }
        Ok(Self(mode))
    }

    fn show(&self) -> String {
        format!("{:04o}", self.0)
    }
}

impl Element for Expired {
    const SHAPE: &'static str = "`\"keep\"` or `\"remove\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "keep" => Ok(Self::Keep),
            "remove" => Ok(Self::Remove),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Keep => "keep".to_owned(),
            Self::Remove => "remove".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const FILE: &str = "[[secret]]\nname = 'db'\npath = 'prod/db'\n[[file]]\nname = 'db'\nsecret = 'db'\n";

    #[test]
    fn files_need_a_place_and_a_place_needs_files() {
        assert!(config(FILE).unwrap_err().to_string().contains("and no [files]"));
        let files = config(&format!("{FILE}[files]\ndir = '/run/x'\n")).unwrap().files.unwrap();
        assert_eq!((files.mode, files.expired, files.remove_on_exit), (Mode(0o400), Expired::Keep, false));
        let alone = "[[secret]]\nname = 'db'\npath = 'prod/db'\n[files]\ndir = '/run/x'\n";
        assert!(config(alone).unwrap_err().to_string().contains("no [[file]] to put there"));
    }

    #[test]
    fn nobody_else_may_read_them() {
        let mode = |mode: &str| config(&format!("{FILE}[files]\ndir = '/run/x'\nmode = {mode}\n"));
        assert_eq!(mode("'0440'").unwrap().files.unwrap().mode, Mode(0o440));
        for (wrong, expected) in [
            ("'0444'", "lets everybody on the machine in"),
            ("'0500'", "only reading and writing"),
            ("'4400'", "only reading and writing"),
            ("'abc'", "permissions for owner and group"),
            ("0o400", "and is an integer"),
        ] {
            let faults = mode(wrong).unwrap_err().to_string();
            assert!(faults.contains(expected), "{wrong}: {faults}");
        }
    }
}
