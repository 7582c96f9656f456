//! The commands of the tour: printed as one would type them, and run exactly so.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::exit::Failure;

/// This program, as a shell finds it.
pub(super) struct Program {
    path: PathBuf,
    typed: OsString,
}

/// A command that goes on while others run.
pub(super) struct Watcher {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: String,
}

/// What a command did.
pub(super) struct Outcome {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Program {
    /// By its name when that leads here, else by its path.
    pub(super) fn own() -> Result<Self, Failure> {
        let path = env::current_exe().map_err(|why| Failure::failed("this program's own path", why))?;
        let found = env::var_os("PATH").and_then(|folders| {
            env::split_paths(&folders)
                .map(|folder| folder.join("leasehold"))
                .find(|program| program.is_file())
        });
        let same = found.is_some_and(|found| {
            fs::canonicalize(found)
                .ok()
                .is_some_and(|found| fs::canonicalize(&path).is_ok_and(|own| own == found))
        });
        let typed = if same { OsString::from("leasehold") } else { path.clone().into_os_string() };
        Ok(Self { path, typed })
    }

    /// The folder that is missing in `PATH`, when its name alone does not lead here.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.path.parent().filter(|_| self.typed == self.path)
    }

    /// The command as one would type it.
    pub(super) fn typed(&self, arguments: &[OsString]) -> String {
        let words = std::iter::once(&self.typed).chain(arguments);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// Runs it.
    pub(super) async fn run(&self, arguments: &[OsString]) -> Result<Outcome, Failure> {
        let output = self.command(arguments).output().await;
        let Output { status, stdout, stderr } =
            output.map_err(|why| Failure::failed(self.path.display(), why))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) })
    }

    /// Starts it, and waits until it has said a line in which this stands.
    pub(super) async fn watch(&self, arguments: &[OsString], until: &str) -> Result<Watcher, Failure> {
        let about = |why| Failure::failed(self.path.display(), why);
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().map_err(about)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::failed(self.path.display(), "its output cannot be read"));
        };
        let mut watcher = Watcher { child, stdout: BufReader::new(stdout), said: String::new() };
        while !watcher.said.contains(until) {
            if watcher.stdout.read_line(&mut watcher.said).await.map_err(about)? == 0 {
                return Err(Failure::failed(
                    self.path.display(),
                    format!("it ended without saying `{until}`"),
                ));
            }
        }
        Ok(watcher)
    }

    /// The command to be run. Nothing of this process's own settings reaches it: it has to work from any shell.
    fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LEASEHOLD_")) {
            command.env_remove(name);
        }
        // Nor does what the user's own file says of output: the tour reads what is written.
        command.env("LEASEHOLD_OUTPUT", "table").env("LEASEHOLD_COLOR", "never");
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Watcher {
    /// Waits for its end.
    pub(super) async fn ended(mut self) -> Result<Outcome, Failure> {
        let about = |why| Failure::failed("a command that watched", why);
        self.stdout.read_to_string(&mut self.said).await.map_err(about)?;
        let status = self.child.wait().await.map_err(about)?;
        Ok(Outcome { code: status.code(), stdout: self.said, stderr: String::new() })
    }
}

/// A word as a POSIX shell takes it.
pub(super) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@=,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain/word-1.2", "two words", "it's", "", "$HOME", "a*b"] {
            let script = format!("printf %s {}", quoted(OsStr::new(word)));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted(OsStr::new("prod/payments/db")), "prod/payments/db");
    }
}
