//! What shells and `man` want to know of the command line, made by clap's own generators.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{args::Cli, exit::Failure, output::Output};

/// A completion script.
pub(crate) fn completions(shell: Shell, output: &mut Output) -> Result<(), Failure> {
    output.bytes(&script(shell))
}

/// The manual page, or every command's page in a folder.
pub(crate) fn man(dir: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    match dir {
        Some(dir) => {
            clap_mangen::generate_to(Cli::command(), dir).map_err(|why| Failure::failed(dir.display(), why))
        }
        None => output.bytes(&page()?),
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "leasehold", &mut script);
    script
}

fn page() -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|why| Failure::failed("the manual page", why))?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_them() {
        for text in [script(Shell::Bash), script(Shell::Zsh), script(Shell::Fish), page().unwrap()] {
            let text = String::from_utf8(text).unwrap();
            for command in ["quickstart", "lease", "secret", "audit", "status", "policy"] {
                assert!(text.contains(command), "{command}");
            }
        }
    }

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        man(Some(folder.path()), &mut Output::new(crate::output::Format::Table)).unwrap();
        for page in ["leasehold.1", "leasehold-lease-get.1", "leasehold-audit-verify.1"] {
            assert!(folder.path().join(page).is_file(), "{page}");
        }
    }
}
