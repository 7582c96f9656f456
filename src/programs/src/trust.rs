//! Which files are run.

use std::{
    env,
    ffi::OsStr,
    fs::Metadata,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use thiserror::Error;

/// Why a file is not run.
#[derive(Debug, Error)]
pub enum Untrusted {
    /// Where it is would depend on where this process is.
    #[error("`{0}` is not an absolute path")]
    Relative(PathBuf),
    /// It, or a folder that it is in, is not there or may not be seen.
    #[error("`{path}` cannot be looked at: {error}")]
    Unseen {
        /// What is looked at.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A folder, or a file without the right to be run.
    #[error("`{0}` is not a program")]
    NoProgram(PathBuf),
    /// Others could put something else there.
    #[error("`{path}` can be written to by others: chmod go-w {path}", path = .0.display())]
    Writable(PathBuf),
    /// Somebody else could put something else there.
    #[error("`{path}` belongs neither to root nor to the user who runs it: chown root {path}", path = .0.display())]
    Foreign(PathBuf),
}

/// Looks whether a program may be given secrets: who may write to it, or put another one in its place, could read them.
///
/// # Errors
/// Why it may not.
pub fn trusted(file: &Path) -> Result<(), Untrusted> {
    if !file.is_absolute() {
        return Err(Untrusted::Relative(file.to_owned()));
    }
    let metadata = std::fs::metadata(file).map_err(|error| unseen(file, error))?;
    if !is_program(&metadata) {
        return Err(Untrusted::NoProgram(file.to_owned()));
    }
    writable_by_others(file, &metadata)?;
    // Links are followed: the folders that matter are those of the file itself.
    let real = file.canonicalize().map_err(|error| unseen(file, error))?;
    for folder in file.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        let metadata = std::fs::metadata(folder).map_err(|error| unseen(folder, error))?;
        let sticky = metadata.permissions().mode() & 0o1000 != 0;
        if !sticky {
            writable_by_others(folder, &metadata)?;
        }
    }
    Ok(())
}

/// The file that a shell would run: a path as it is, a name from the folders of `PATH`.
pub fn find(program: &OsStr) -> Option<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Some(program.into());
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|file| std::fs::metadata(file).is_ok_and(|metadata| is_program(&metadata)))
}

fn is_program(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

fn writable_by_others(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(Untrusted::Writable(path.to_owned()));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(Untrusted::Foreign(path.to_owned()));
    }
    Ok(())
}

fn unseen(path: &Path, error: io::Error) -> Untrusted {
    Untrusted::Unseen { path: path.to_owned(), error }
}
