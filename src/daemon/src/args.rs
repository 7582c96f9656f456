//! The command line and the exit codes.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "leaseholdd", version, about = "Leasehold's broker: workloads borrow secrets, they never own them", after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `run` without its name.
    #[command(flatten)]
    pub run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker (the default)
    Run(Run),
    /// Check the configuration and everything that it names, and tell every fault
    CheckConfig(CheckConfig),
    /// Make the seal key and the state directory; what exists is left as it is
    Init(Init),
    /// Carry a local provider's secrets to another one in a sealed bundle, while no broker runs on them
    #[cfg(feature = "local")]
    Local {
        /// Which way.
        #[command(subcommand)]
        command: LocalCommand,
    },
}

/// Which way a bundle goes.
#[cfg(feature = "local")]
#[derive(Clone, Debug, Subcommand)]
pub enum LocalCommand {
    /// Write all secrets of a provider, with their versions, into a new sealed file
    Export {
        /// Whose, and under which key.
        #[command(flatten)]
        bundle: BundleArgs,
        /// The file, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take all secrets of such a file in, when the whole of it is good
    Import {
        /// Whose, and under which key.
        #[command(flatten)]
        bundle: BundleArgs,
        /// The file
        #[arg(long = "in", value_name = "FILE")]
        file: PathBuf,
        /// Replace secrets that exist and are not as in the bundle; without it nothing is imported then
        #[arg(long)]
        replace: bool,
    },
}

/// Whose secrets a bundle holds, and under which key.
#[cfg(feature = "local")]
#[derive(Clone, Debug, Args)]
pub struct BundleArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The provider's configured name
    #[arg(long, value_name = "NAME")]
    pub provider: leasehold_core::provider::ProviderName,
    /// The key that seals the bundle, made with `leaseholdd init --key-file FILE`; keep it apart from the bundle
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "LEASEHOLD_CONFIG", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// `run`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Serve what is read and end nothing, until `leasehold hold release`; a state that was restored starts so by itself
    #[arg(long)]
    pub hold: bool,
    /// Take this machine's time of day as it is, though it is behind the time that was kept: for when that was wrong.
    /// Leases that were issued at times which are yet to come are ended
    #[arg(long, conflicts_with = "hold")]
    pub trust_clock: bool,
}

/// `check-config`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct CheckConfig {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Sign in at every provider, too, and try what the catalog will ask of it; nothing is changed there
    #[arg(long)]
    pub live: bool,
}

/// `init`'s own arguments.
#[derive(Clone, Debug, Args)]
pub struct Init {
    /// Where the seal key and the state directory are named.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Make a seal key here and nothing else; needs no configuration
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// How the process ended. The numbers are stable; `docs/exit-codes.md` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok = 0,
    /// It could not start, or went on until something failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Config = 2,
    /// The seal key or the state cannot be used as they are; a person must look.
    State = 3,
    /// Another broker has the state directory.
    InUse = 4,
    /// A write to the journal failed in a way after which nothing can be promised.
    Poisoned = 5,
}

const DEFAULT_CONFIG: &str = "/etc/leasehold/leasehold.toml";

const EXIT_CODES: &str = "Exit codes: 0 ended in order, 1 failed, 2 command line or configuration, 3 seal key or state \
cannot be used, 4 another broker has the state directory, 5 the journal is poisoned.";

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command(args: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once("leaseholdd").chain(args.iter().copied())).map(Cli::into_command)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_when_nothing_is_said() {
        for args in [&["--config", "a.toml"][..], &["run", "--config", "a.toml"], &["run", "-c", "a.toml"]] {
            let Ok(Command::Run(run)) = command(args) else { panic!("{args:?}") };
            assert_eq!((run.config.config, run.hold), (PathBuf::from("a.toml"), false), "{args:?}");
        }
        for args in [&["--hold"][..], &["run", "--hold"]] {
            let Ok(Command::Run(run)) = command(args) else { panic!("{args:?}") };
            assert!(run.hold, "{args:?}");
        }
        let Ok(Command::CheckConfig(check)) = command(&["check-config"]) else { panic!() };
        assert_eq!((check.config.config, check.live), (PathBuf::from(DEFAULT_CONFIG), false));
        let Ok(Command::CheckConfig(check)) = command(&["check-config", "--live"]) else { panic!() };
        assert!(check.live);
        let Ok(Command::Init(init)) = command(&["init", "--key-file", "k"]) else { panic!() };
        assert_eq!(init.key_file, Some(PathBuf::from("k")));
        assert!(command(&["serve"]).is_err());
        assert!(command(&["--config"]).is_err());
    }
}
