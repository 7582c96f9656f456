//! The command line and the exit codes.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use leasehold_config::{Element, element::Wrong};

use crate::name::Name;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "leasehold-sidecar",
    version,
    about = "Leases secrets for a program next to it, and puts them where the program looks",
    after_help = EXIT_CODES,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `run` without its name.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lease the secrets, publish them and keep them until told to end (the default)
    Run(RunArgs),
    /// The same around a program, which gets the secrets and whose exit code is passed on
    Exec(ExecArgs),
    /// Ask a running sidecar whether all is well
    Check(CheckArgs),
    /// Check the configuration and everything that it names, and tell every fault
    CheckConfig(ConfigFile),
    /// Lease one secret of the configuration, print it and give it back
    Get(GetArgs),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "LEASEHOLD_SIDECAR_CONFIG", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// `run`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Write all files once and end: for an init container. Their leases are left to end by themselves
    #[arg(long)]
    pub once: bool,
    /// How long the secrets for `--once` may take, such as `30s`
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time, requires = "once")]
    pub within: Duration,
}

/// `exec`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// `check`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Ask at this socket, whatever the configuration says
    #[arg(long, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Ask only whether it answers at all
    #[arg(long)]
    pub live: bool,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "live")]
    pub json: bool,
}

/// `get`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The secret's name in the configuration
    pub secret: Name,
    /// One field, printed as it is; without it, all fields as JSON
    #[arg(long)]
    pub field: Option<leasehold_core::secret::FieldName>,
}

/// How the process ended. The numbers are stable; `docs/sidecar.md` explains them. `exec` passes on its program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok = 0,
    /// It could not start, or went on until something failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Config = 2,
    /// The directory for files cannot be trusted; a person must look.
    Directory = 3,
    /// `check`: it runs, and not everything is as it should be.
    Unwell = 4,
    /// `exec`: the program is not started, or was ended, for want of secrets.
    NoSecrets = 124,
    /// `exec`: the program could not be started.
    NotStarted = 126,
    /// `exec`: there is no such program.
    NotFound = 127,
}

const DEFAULT_CONFIG: &str = "/etc/leasehold/sidecar.toml";

const EXIT_CODES: &str = "Exit codes: 0 ended in order, 1 failed, 2 command line or configuration, 3 the directory for \
files cannot be trusted, 4 (check) not all is well; exec passes on its program's own, 124 when it is not started, or was \
ended, for want of secrets, 126 when it cannot be started, 127 when it is not found.";

impl Cli {
    /// The command, the default when none was given.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A time as the configuration has it.
fn time(text: &str) -> Result<Duration, String> {
    let value = toml::Value::String(text.to_owned()).to_string();
    let value = toml::de::DeValue::parse(&value).map_err(|error| error.to_string())?;
    Duration::read(value.get_ref()).map_err(|Wrong(why)| why)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command(args: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once("leasehold-sidecar").chain(args.iter().copied()))
            .map(Cli::into_command)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_when_nothing_is_said() {
        for args in [&["--config", "a.toml"][..], &["run", "--config", "a.toml"], &["run", "-c", "a.toml"]] {
            let Ok(Command::Run(run)) = command(args) else { panic!("{args:?}") };
            assert_eq!((run.config.config, run.once), (PathBuf::from("a.toml"), false), "{args:?}");
        }
        let Ok(Command::Run(run)) = command(&["run", "--once", "--within", "1m30s"]) else { panic!() };
        assert_eq!((run.once, run.within), (true, Duration::from_secs(90)));
        assert!(command(&["run", "--within", "10s"]).is_err(), "only for `--once`");
        assert!(command(&["run", "--once", "--within", "soon"]).is_err());
        let Ok(Command::Exec(exec)) = command(&["exec", "-c", "a", "--", "sh", "-c", "true"]) else {
            panic!()
        };
        assert_eq!(exec.program, ["sh", "-c", "true"]);
        assert!(command(&["exec", "-c", "a"]).is_err());
    }
}
