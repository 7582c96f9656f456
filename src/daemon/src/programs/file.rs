//! Which files are run.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::process::geteuid;

/// Says why a file is not run. Who may write to it, or put another one in its place, could read the secrets.
pub(super) fn trusted(file: &Path) -> Result<(), String> {
    let shown = file.display();
    if !file.is_absolute() {
        return Err(format!("`{shown}` is not an absolute path"));
    }
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("`{shown}` is not a program"));
    }
    writable_by_others(file, &metadata)?;
    // Links are followed: the folders that matter are those of the file itself.
    let real = file.canonicalize().map_err(|error| unreadable(file, &error))?;
    for folder in file.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        let metadata = std::fs::metadata(folder).map_err(|error| unreadable(folder, &error))?;
        let sticky = metadata.permissions().mode() & 0o1000 != 0;
        if !sticky {
            writable_by_others(folder, &metadata)?;
        }
    }
    Ok(())
}

fn writable_by_others(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let shown = path.display();
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(format!("`{shown}` can be written to by others: chmod go-w {shown}"));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(format!(
            "`{shown}` belongs neither to root nor to the broker's user: chown root {shown}"
        ));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("`{}` cannot be looked at: {error}", path.display())
}
