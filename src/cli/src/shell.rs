//! What shells and `man` want to know of the command line, made by clap's own generators.

use std::path::Path;

use clap_complete::{Shell, env::Shells};

use crate::{args, exit::Failure, output::Output};

/// As `_leasehold` in a folder of `fpath`, the script is itself the function that is asked first: without this, the first
/// completion in every shell would offer nothing.
const ZSH_AUTOLOADED: &str =
    "\nif [[ ${funcstack[1]} == _leasehold ]]; then\n    _clap_dynamic_completer_leasehold \"$@\"\nfi\n";

/// What a shell reads once, so that it asks this program for completions from then on.
pub(crate) fn completions(shell: Shell, output: &mut Output) -> Result<(), Failure> {
    output.bytes(&script(shell)?)
}

/// The manual page, or every command's page in a folder.
pub(crate) fn man(dir: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    match dir {
        Some(dir) => {
            let failed = |why| Failure::failed(dir.display(), why);
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(args::command(), dir).map_err(failed)
        }
        None => output.bytes(&page()?),
    }
}

fn script(shell: Shell) -> Result<Vec<u8>, Failure> {
    let name = shell.to_string();
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer =
        shells.completer(&name).ok_or_else(|| Failure::usage(format!("{name} is not known here")))?;
    completer
        .write_registration("COMPLETE", "leasehold", "leasehold", "leasehold", &mut script)
        .map_err(|why| Failure::failed("the completion script", why))?;
    if shell == Shell::Zsh {
        script.extend_from_slice(ZSH_AUTOLOADED.as_bytes());
    }
    Ok(script)
}

fn page() -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(args::command())
        .render(&mut page)
        .map_err(|why| Failure::failed("the manual page", why))?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_is_told_to_ask_this_program() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell).unwrap()).unwrap();
            assert!(script.contains("leasehold") && script.contains("COMPLETE"), "{shell}: {script}");
        }
    }

    #[test]
    fn every_command_has_its_page_with_examples() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        man(Some(&pages), &mut Output::plain()).unwrap();
        for page in
            ["leasehold.1", "leasehold-lease-get.1", "leasehold-audit-verify.1", "leasehold-context-use.1"]
        {
            let text = std::fs::read_to_string(pages.join(page)).unwrap();
            assert!(text.contains(".TH ") && text.contains("Examples:"), "{page}: {text}");
        }
        let whole = String::from_utf8(page().unwrap()).unwrap();
        for command in ["quickstart", "lease", "secret", "audit", "status", "policy", "context"] {
            assert!(whole.contains(command), "{command}");
        }
    }
}
