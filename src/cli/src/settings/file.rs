//! The configuration file: `$XDG_CONFIG_HOME/leasehold/config.toml`, else `~/.config/leasehold/config.toml`.
//!
//! Who can write it can send its reader to another broker with another trust bundle, so a file that others can write is
//! refused, and so is one in a folder that they can write.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use leasehold_core::SpiffeId;
use serde::{Deserialize, Deserializer};

use super::addresses::Addresses;
use crate::{duration, exit::Failure, look::ColorWhen, output::Format};

/// What is in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The context that is used when none is named.
    pub(crate) current: Option<ContextName>,
    pub(crate) output: Option<Format>,
    pub(crate) color: Option<ColorWhen>,
    #[serde(default, deserialize_with = "time")]
    pub(crate) timeout: Option<Duration>,
    /// The brokers, by the names that their user gave them.
    #[serde(default)]
    pub(crate) context: BTreeMap<ContextName, Context>,
}

/// One broker, and who one is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    #[serde(default, deserialize_with = "text")]
    pub(crate) addr: Option<Addresses>,
    pub(crate) identity: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) server_id: Option<SpiffeId>,
    #[serde(default, deserialize_with = "time")]
    pub(crate) timeout: Option<Duration>,
}

/// What a user calls a broker: letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ContextName(String);

/// Where the file is, or would be. Nowhere for a user without a home.
pub(crate) fn path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("leasehold/config.toml"))
}

impl File {
    /// The file; empty when there is none.
    ///
    /// # Errors
    /// When others can write it, or it cannot be read or understood.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match text_of(path) {
            Ok(text) => Self::parse(&text, path),
            Err(Unusable::Absent) => Ok(Self::default()),
            Err(Unusable::Failed(failure)) => Err(failure),
        }
    }

    /// The text, whose relative paths are taken from the file's folder.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let mut file: Self = toml::from_str(text)
            .map_err(|why| Failure::usage(format!("{}: {}", path.display(), why.to_string().trim_end())))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        for (name, context) in &mut file.context {
            let Context { identity, cert, key, ca, .. } = context;
            for path in [identity, &mut *cert, &mut *key, ca].into_iter().flatten() {
                *path = folder.join(&path);
            }
            if context.cert.is_some() != context.key.is_some() {
                return Err(Failure::usage(format!(
                    "{}: the context `{name}` has one of `cert` and `key`: it needs both, or `identity`",
                    path.display()
                )));
            }
        }
        Ok(file)
    }
}

/// Why there is no text.
pub(super) enum Unusable {
    Absent,
    Failed(Failure),
}

/// The text of a file that nobody else can write.
pub(super) fn text_of(path: &Path) -> Result<String, Unusable> {
    let failed = |why: &dyn fmt::Display| Unusable::Failed(Failure::failed(path.display(), why));
    let mut file = fs::File::open(path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unusable::Absent,
        _ => failed(&why),
    })?;
    // What was opened, wherever a link led.
    let found = file.metadata().map_err(|why| failed(&why))?;
    trusted(path, &found).map_err(Unusable::Failed)?;
    let folder = fs::canonicalize(path).map_err(|why| failed(&why))?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let of_folder = fs::metadata(folder).map_err(|why| failed(&why))?;
    trusted(folder, &of_folder).map_err(Unusable::Failed)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|why| failed(&why))?;
    Ok(text)
}

/// Refuses what others could have written.
fn trusted(path: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    let own = rustix::process::geteuid().as_raw();
    let path = path.display();
    if found.uid() != own && found.uid() != 0 {
        return Err(Failure::usage(format!(
            "{path}: it belongs to another user (uid {}), who could send you to another broker: make it yours",
            found.uid()
        )));
    }
    if found.mode() & 0o022 != 0 {
        return Err(Failure::usage(format!(
            "{path}: others can write it, and could send you to another broker: `chmod go-w {path}`"
        )));
    }
    Ok(())
}

impl ContextName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ContextName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) || text.starts_with('-') {
            return Err("a context's name is 1 to 64 letters, digits, `.`, `_` and `-`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContextName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn text<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration::parse(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refused(text: &str) -> String {
        File::parse(text, Path::new("/c/config.toml")).unwrap_err().message
    }

    #[test]
    fn paths_are_taken_from_the_files_folder() {
        let text = "[context.a]\naddr = 'b:1'\nidentity = 'a'\nca = '/etc/ca.pem'\n";
        let file = File::parse(text, Path::new("/home/x/leasehold/config.toml")).unwrap();
        let context = &file.context["a"];
        assert_eq!(context.identity.as_deref(), Some(Path::new("/home/x/leasehold/a")));
        assert_eq!(context.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn faults_say_where_they_are() {
        let unknown = refused("[context.a]\nadress = 'b:1'\n");
        assert!(unknown.contains("line 2") && unknown.contains("`addr`"), "{unknown}");
        assert!(refused("[context.'a b']\n").contains("a context's name is"));
        assert!(refused("[context.a]\naddr = 'http://b'\n").contains("TLS"));
        assert!(refused("timeout = 'soon'\n").contains("`15m`"));
        assert!(refused("[context.a]\ncert = 'x'\n").contains("it needs both"));
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("leasehold");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("config.toml");
        assert!(File::read(&path).unwrap().context.is_empty(), "there need be none");
        fs::write(&path, "current = 'a'\n").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&folder, 0o755);
        mode(&path, 0o644);
        assert_eq!(File::read(&path).unwrap().current.unwrap().as_str(), "a");
        for (at, bad, good) in [(&path, 0o664, 0o644), (&path, 0o646, 0o644), (&folder, 0o777, 0o700)] {
            mode(at, bad);
            let refused = File::read(&path).unwrap_err();
            assert!(refused.message.contains("others can write it"), "{refused:?}");
            mode(at, good);
        }
        assert!(File::read(&path).is_ok());
    }
}
