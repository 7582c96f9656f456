//! The token that keeps requests forged through another server out (SSRF): whoever can read its file may ask.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use leasehold_core::SecretBytes;
use thiserror::Error;
use zeroize::Zeroizing;

/// A token in a file, read again when the file has changed.
#[derive(Debug)]
pub struct Token {
    path: PathBuf,
    read: Mutex<Option<(Stamp, SecretBytes)>>,
}

/// By what a file is known to be another.
type Stamp = (u64, u64, i64, i64, u64);

/// Why there is no token. Never says anything of it.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Everybody on the machine can read it.
    #[error("the token file {} can be read by everybody on this machine (mode {mode:03o}): `chmod o= {}`, and make a new token",
        path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no token.
    #[error(
        "the token file {} does not hold one line of 16 to 4096 visible characters: `openssl rand -hex 32 > {}`",
        path.display(), path.display()
    )]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// The shortest that nobody guesses, and the longest that a header of ours has room for.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=4096;

impl Token {
    /// The token in this file; it is looked at for the first time when somebody shows one.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// Reads the file, if it has changed.
    ///
    /// # Errors
    /// When there is no token in it, or it is open to everybody.
    pub fn check(&self) -> Result<(), TokenError> {
        self.with(|_| ())
    }

    /// Whether this is the token. It takes as long for a wrong one.
    ///
    /// # Errors
    /// When there is no token in the file, or it is open to everybody: then nothing is.
    pub fn is(&self, shown: &[u8]) -> Result<bool, TokenError> {
        self.with(|token| verify_slices_are_equal(token.expose(), shown).is_ok())
    }

    fn with<T>(&self, of: impl FnOnce(&SecretBytes) -> T) -> Result<T, TokenError> {
        let unreadable = |cause| TokenError::Unreadable { path: self.path.clone(), cause };
        // Without waiting, so that a pipe in the file's place cannot hold everything up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        let mode = found.mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(TokenError::Exposed { path: self.path.clone(), mode });
        }
        let stamp = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, token) = match read.take().filter(|(of, _)| *of == stamp) {
            Some(known) => read.insert(known),
            None => read.insert((stamp, token_of(file, &self.path)?)),
        };
        Ok(of(token))
    }
}

fn token_of(file: File, path: &Path) -> Result<SecretBytes, TokenError> {
    let unreadable = |cause| TokenError::Unreadable { path: path.to_owned(), cause };
    let most = LENGTHS.end().saturating_add(2);
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut text).map_err(unreadable)?;
    parse(&text).ok_or_else(|| TokenError::NoToken { path: path.to_owned() })
}

/// The token in a file's text.
pub fn parse(text: &[u8]) -> Option<SecretBytes> {
    let token = text.trim_ascii();
    let ok = LENGTHS.contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    ok.then(|| SecretBytes::new(token.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_token_is_the_one_in_the_file_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Token::new(path.clone());
        assert!(matches!(token.check(), Err(TokenError::Unreadable { .. })));
        write(&path, "canary-0123456789\n", 0o640);
        assert!(token.is(b"canary-0123456789").unwrap());
        assert!(!token.is(b"canary-0123456788").unwrap() && !token.is(b"canary").unwrap());
        fs::remove_file(&path).unwrap();
        write(&path, "another-0123456789abc", 0o600);
        assert!(!token.is(b"canary-0123456789").unwrap());
        assert!(token.is(b"another-0123456789abc").unwrap());
        assert!(!format!("{token:?}").contains("another"));
    }

    #[test]
    fn what_is_no_token_keeps_everybody_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Token::new(path.clone());
        for text in [
            "",
            "\n",
            "short",
            "with a space in its middle",
            "two lines of it\nand another",
            &"x".repeat(4097),
        ] {
            write(&path, text, 0o600);
            let why = token.is(text.trim().as_bytes()).unwrap_err();
            assert!(matches!(why, TokenError::NoToken { .. }), "{text:?}: {why}");
        }
        write(&path, "canary-0123456789", 0o644);
        let why = token.is(b"canary-0123456789").unwrap_err().to_string();
        assert!(why.contains("mode 644") && !why.contains("canary"), "{why}");
        assert!(matches!(Token::new(dir.path().to_owned()).check(), Err(TokenError::Unreadable { .. })));
    }
}
