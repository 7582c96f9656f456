//! The key ring's file: how it is written, what is demanded of it, and how it is made.
//!
//! ```text
//! # comments and empty lines are skipped
//! leasehold-keyring 1
//! key 5f1c0d9be0a34c77 <32 bytes, base64>     the first one seals, all of them open
//! key 9d20a1b6cc54e811 <32 bytes, base64>
//! tag <32 bytes, base64>                      makes value tags; never replaced
//! ```
//!
//! To rotate, put a new `key` line above the others, and remove the old one when nothing sealed with it is left.
//! A key's id follows from the key, so a line with a typing error is noticed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{Key, Raw};

/// Why there is no key ring.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// No such file.
    #[error("there is no key ring at {}: make one with `leaseholdd init`", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already, and it may be the only thing that opens the ledger.
    #[error("{} exists already and is not overwritten: move it away if it is no longer needed", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read it.
    #[error(
        "the key ring {} can be read by others than its owner (mode {mode:03o}): `chmod 600 {}`, and think of it as known",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else's file.
    #[error("the key ring {} belongs to user {owner}, not to the user {user} that runs this: `chown {user} {}`",
        path.display(), path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user that this process runs as.
        user: u32,
    },
    /// A directory, a pipe, a device.
    #[error("the key ring {} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// What is in it is not a key ring.
    #[error("the key ring {}, line {line}: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it. Never shows the line: it may hold a key.
        fault: &'static str,
    },
    /// The system did not let it be read or written.
    #[error("the key ring {} cannot be {verb}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The system gave no randomness for a key.
    #[error("no key can be made: the system gave no randomness")]
    NoEntropy,
}

const FIRST_LINE: &str = "leasehold-keyring 1";
const LONGEST: u64 = 64 * 1024;

/// Where systemd puts credentials for this process (`LoadCredential=`), if it does.
pub(crate) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// The file's text, when the file is what it has to be.
pub(crate) fn read(path: &Path, credentials: Option<&Path>) -> Result<Zeroizing<String>, KeyRingError> {
    let failed = |source| KeyRingError::Io { path: path.to_owned(), verb: "read", source };
    // Opened without blocking, so that a pipe in the file's place cannot hold the start up.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| match source
        .kind()
    {
        io::ErrorKind::NotFound => KeyRingError::Missing { path: path.to_owned() },
        _ => failed(source),
    })?;
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(KeyRingError::NotAFile { path: path.to_owned() });
    }
    // systemd gives the service its access by an ACL, whose mask shows as group bits, on a file that root may own.
    let credential = credentials.is_some_and(|dir| path.starts_with(dir));
    let mode = status.mode() & 0o777;
    if mode & (if credential { 0o007 } else { 0o077 }) != 0 {
        return Err(KeyRingError::Exposed { path: path.to_owned(), mode });
    }
    let (owner, user) = (status.uid(), rustix::process::geteuid().as_raw());
    if owner != user && owner != 0 {
        return Err(KeyRingError::Foreign { path: path.to_owned(), owner, user });
    }
    // Read in one piece into a buffer that never grows, because growing would leave copies behind.
    let size = status.len().min(LONGEST);
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1)));
    file.take(size).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Writes a new file that only its owner can read, durably.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), KeyRingError> {
    let failed = |source| KeyRingError::Io { path: path.to_owned(), verb: "written", source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyRingError::Exists { path: path.to_owned() },
            _ => failed(source),
        },
    )?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    });
    written.map_err(|source| {
        // Half a key ring would only be in the way; the first error is the one to tell.
        drop(std::fs::remove_file(path));
        failed(source)
    })
}

/// The file's text for these keys.
pub(crate) fn print(keys: &[Key], tagging: &Raw) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str(
        "# Leasehold's key ring. Without it the ledger cannot be opened; with it anybody can.\n\
         # Keep a copy apart from the state directory. To rotate, put a new `key` line above the others.\n",
    );
    text.push_str(FIRST_LINE);
    text.push('\n');
    for key in keys {
        text.push_str("key ");
        text.push_str(&key.id().to_string());
        text.push(' ');
        BASE64.encode_append(key.raw(), &mut text);
        text.push('\n');
    }
    text.push_str("tag ");
    BASE64.encode_append(&**tagging, &mut text);
    text.push('\n');
    text
}

/// The keys in a file's text; or which line is wrong, and how.
pub(crate) fn parse(text: &str) -> Result<(Vec<Key>, Raw), (usize, &'static str)> {
    let mut lines = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, FIRST_LINE)) => {}
        Some((number, _)) => return Err((number, "a key ring starts with `leasehold-keyring 1`")),
        None => return Err((1, "the file is empty: is it the right one?")),
    }
    let (mut keys, mut tagging, mut last) = (Vec::<Key>::new(), None, 1);
    for (number, line) in lines {
        last = number;
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("key"), Some(id), Some(key), None) => {
                let key = raw(key).and_then(Key::new).ok_or((number, "a key is 32 bytes in base64"))?;
                if key.id().to_string() != id {
                    return Err((number, "the id does not belong to the key: one of them was changed"));
                }
                if keys.iter().any(|other| other.id() == key.id()) {
                    return Err((number, "the same key twice"));
                }
                keys.push(key);
            }
            (Some("tag"), Some(key), None, None) if tagging.is_none() => {
                tagging = Some(raw(key).ok_or((number, "a tag key is 32 bytes in base64"))?);
            }
            (Some("tag"), ..) => return Err((number, "a key ring has one line `tag <base64>`")),
            _ => return Err((number, "a line is `key <id> <base64>` or `tag <base64>`")),
        }
    }
    match tagging {
        _ if keys.is_empty() => Err((last, "there is no `key` line")),
        None => Err((last, "there is no `tag` line")),
        Some(tagging) => Ok((keys, tagging)),
    }
}

fn raw(text: &str) -> Option<Raw> {
    // The decoder may want a little more room than the result has.
    let mut buffer = Zeroizing::new([0; 36]);
    let length = BASE64.decode_len(text.len()).ok()?;
    let decoded = BASE64.decode_mut(text.as_bytes(), buffer.get_mut(..length)?).ok()?;
    let mut raw = Zeroizing::new([0; 32]);
    (decoded == raw.len()).then_some(())?;
    raw.copy_from_slice(buffer.get(..32)?);
    Some(raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{KeyRing, SystemEntropy};

    fn text() -> Zeroizing<String> {
        print(&[Key::new(Zeroizing::new([1; 32])).unwrap()], &Zeroizing::new([2; 32]))
    }

    #[test]
    fn a_made_file_is_private_and_loads_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = KeyRing::create_file(&path, &SystemEntropy).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let loaded = KeyRing::load(&path).unwrap();
        let sealed = made.seal(b"c", b"x").unwrap();
        assert_eq!(loaded.open(b"c", &sealed).unwrap().expose(), b"x");
        assert!(matches!(
            KeyRing::create_file(&path, &SystemEntropy).unwrap_err(),
            KeyRingError::Exists { .. }
        ));
        assert_eq!(KeyRing::load(&path).unwrap().open(b"c", &sealed).unwrap().expose(), b"x");
    }

    #[test]
    fn a_missing_or_exposed_file_says_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(KeyRing::load(&path).unwrap_err().to_string().contains("leaseholdd init"));
        create(&path, &text()).unwrap();
        for mode in [0o640, 0o604, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let why = KeyRing::load(&path).unwrap_err().to_string();
            assert!(why.contains("chmod 600") && why.contains(&format!("{mode:o}")), "{why}");
        }
    }

    #[test]
    fn a_credential_may_show_its_acl_as_group_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, &text()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        assert!(read(&path, Some(dir.path())).is_ok());
        assert!(matches!(read(&path, None).unwrap_err(), KeyRingError::Exposed { .. }));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
        assert!(matches!(read(&path, Some(dir.path())).unwrap_err(), KeyRingError::Exposed { .. }));
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(KeyRing::load(dir.path()).unwrap_err(), KeyRingError::NotAFile { .. }));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(KeyRing::load(&pipe).unwrap_err(), KeyRingError::NotAFile { .. }));
    }

    #[test]
    fn faults_are_named_by_line_and_never_shown() {
        let good = text().to_string();
        let key = BASE64.encode(&[1; 32]);
        let cases = [
            (String::new(), "empty"),
            ("hello\n".to_owned(), "starts with"),
            (good.replace("tag ", "tags "), "a line is"),
            (good.replace("tag ", "# "), "no `tag`"),
            (good.replace("key ", "# "), "no `key`"),
            (good.replace("AQEB", "AQEC"), "does not belong"),
            (good.replace(&key, "AQEB"), "32 bytes"),
            (format!("{good}{good}").replacen("leasehold-keyring 1\n", "", 1), "starts with"),
            (format!("{good}tag {key}\n"), "one line `tag"),
        ];
        for (text, fault) in cases {
            let Err((_, found)) = parse(&text) else { panic!("{text}") };
            assert!(found.contains(fault), "{found} for {text}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, &good.replace("AQEB", "AQEC")).unwrap();
        let why = KeyRing::load(&path).unwrap_err().to_string();
        assert!(why.contains("line 4") && !why.contains("AQE"), "{why}");
    }
}
