//! A Unix socket in a directory where nobody else can put one in its place.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use thiserror::Error;
use tokio::net::UnixListener;

/// A socket that listens; its name is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number: what has another's is another's.
    identity: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Where it is to be, there is no directory.
    #[error("the directory {} of the socket cannot be opened: {cause}", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others can put something in its place.
    #[error(
        "the directory {} of the socket can be written to by others than its owner (mode {mode:03o}): `chmod go-w {}`",
        path.display(), path.display()
    )]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else's directory.
    #[error(
        "the directory {} of the socket belongs to user {owner}, who could put anything in its place: use one of your own, \
         such as a `RuntimeDirectory=` of the unit",
        path.display()
    )]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Something is there that is not a socket of ours.
    #[error("{} is there and is not a socket of this user: move it away", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody answers there.
    #[error("another process listens at {}: end it, or configure another socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system does not allow it.
    #[error("the socket {} cannot be made: {cause}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl Socket {
    /// Listens at `path` with these permission bits, for this group when one is given. A socket that a process of this
    /// user left behind is replaced.
    ///
    /// # Errors
    /// When the directory is not ours alone to write to, or something else is in the socket's place.
    pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, SocketError> {
        let failed = |cause| SocketError::Io { path: path.to_owned(), cause };
        check_directory(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = fs::symlink_metadata(path).map_err(failed)?;
        let bound = Self { listener, path: path.to_owned(), identity: (socket.dev(), socket.ino()) };
        // Whoever connects before this has the credentials checked like everybody.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        if group.is_some() {
            std::os::unix::fs::lchown(path, None, group).map_err(failed)?;
        }
        Ok(bound)
    }

    /// What connections are taken from.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.identity) && fs::remove_file(&self.path).is_err() {
            tracing::warn!(path = %self.path.display(), "the socket could not be removed; the next start does it");
        }
    }
}

fn check_directory(path: &Path) -> Result<(), SocketError> {
    let found = fs::metadata(path).and_then(|found| match found.is_dir() {
        true => Ok(found),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    let found = found.map_err(|cause| SocketError::NoDirectory { path: path.to_owned(), cause })?;
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(SocketError::ForeignDirectory { path: path.to_owned(), owner: found.uid() });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(SocketError::OpenDirectory { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Removes a socket of this user at which nobody answers.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |cause| SocketError::Io { path: path.to_owned(), cause };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() {
        return Err(SocketError::Taken { path: path.to_owned() });
    }
    match is_dead(path) {
        Ok(true) => fs::remove_file(path).map_err(failed),
        Ok(false) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Whether nobody listens there. A crowd that waits for an answer is somebody's.
fn is_dead(path: &Path) -> Result<bool, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(connect(&socket, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sidecar.sock");
        (dir, path)
    }

    #[tokio::test]
    async fn it_has_its_mode_and_goes_when_it_is_dropped() {
        let (_dir, path) = place();
        let socket = Socket::bind(&path, 0o660, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_what_answers_is_not() {
        let (_dir, path) = place();
        // The standard library's listener leaves its name behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path, 0o600, None).unwrap();
        assert!(matches!(Socket::bind(&path, 0o600, None).unwrap_err(), SocketError::InUse { .. }));
        // What took its place is not its to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
        assert!(matches!(Socket::bind(&path, 0o600, None).unwrap_err(), SocketError::Taken { .. }));
    }

    #[tokio::test]
    async fn a_directory_that_others_write_to_is_refused() {
        let (dir, path) = place();
        for mode in [0o770, 0o702, 0o777] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let why = Socket::bind(&path, 0o600, None).unwrap_err().to_string();
            assert!(why.contains(&format!("{mode:o}")) && why.contains("chmod go-w"), "{why}");
        }
        let missing = dir.path().join("none/sidecar.sock");
        assert!(matches!(Socket::bind(&missing, 0o600, None).unwrap_err(), SocketError::NoDirectory { .. }));
    }
}
