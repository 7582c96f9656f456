//! The references in `docs/reference` and the manual pages, made from the programs themselves: from what their readers ask of
//! a configuration ([`leasehold_config::record`]), and from the grammars of their command lines. Tests of the programs
//! make them and fail when what is kept in the repository is out of date. Nothing of this is in a program.

pub mod commands;
pub mod conform;
pub mod manual;
pub mod markdown;
mod merge;
mod outline;
pub mod schema;
pub mod words;

use std::{env, fs, io, path::Path};

pub use self::merge::{Chapter, Fault, Reference, Row};

/// A page that is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum OutOfStep {
    /// It says something else.
    #[error("{0} is out of date: run this test with LEASEHOLD_BLESS=1 once")]
    Differs(String),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritten(String, #[source] io::Error),
}

/// Compares a file of the repository with what it has to be; `LEASEHOLD_BLESS=1` makes it so first. `member` is the folder of
/// a crate two below the repository's own.
///
/// # Errors
/// When it differs, or cannot be written.
pub fn in_step(member: &str, path: &str, text: &str) -> Result<(), OutOfStep> {
    let file = Path::new(member).join("../..").join(path);
    if env::var_os("LEASEHOLD_BLESS").is_some() {
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&file, text))
            .map_err(|error| OutOfStep::Unwritten(path.to_owned(), error))?;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == text { Ok(()) } else { Err(OutOfStep::Differs(path.to_owned())) }
}
