//! The program: what each command does, and how it ends.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    args::{Cli, Command, ConfigFile, ExecArgs, Exit, GetArgs, RunArgs},
    clock::Sources,
    config::Config,
    edition::Edition,
    get, hardening, health, log, once, publish, run,
};

/// Reads the command line and does what it says.
/// The machine is asked for the time through `sources`.
pub fn main(sources: Sources) -> ExitCode {
    match Cli::parse().into_command() {
        Command::Run(RunArgs { config, once: false, .. }) => {
            keep(&config, |config| run::run(config, Vec::new(), sources))
        }
        Command::Run(RunArgs { config, within, .. }) => {
            keep(&config, async |config| once::once(config, within, sources).await as u8)
        }
        Command::Exec(ExecArgs { config, program }) => {
            keep(&config, |config| run::run(config, program, sources))
        }
        Command::Check(arguments) => health::check(&arguments).into(),
        Command::CheckConfig(file) => check_config(&file).into(),
        Command::Get(arguments) => get(&arguments).into(),
    }
}

/// Reads the configuration and does that with it.
fn keep(file: &ConfigFile, work: impl AsyncFnOnce(Config) -> u8) -> ExitCode {
    // Before any thread is started, and before anything secret is read.
    let measures = hardening::harden();
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(faults) => {
            say(&faults);
            return Exit::Config.into();
        }
    };
    if let Err(error) = log::start(&config.log) {
        say(&error);
        return Exit::Config.into();
    }
    for measure in &measures {
        if let Err(why) = &measure.outcome {
            tracing::warn!("{} cannot be had: {why}", measure.name);
        }
    }
    within_runtime(work(config)).map_or(Exit::Failed.into(), ExitCode::from)
}

/// Everything that can be found out without leasing anything, told at once.
fn check_config(file: &ConfigFile) -> Exit {
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(faults) => {
            say(&faults);
            return Exit::Config;
        }
    };
    let mut exit = Exit::Ok;
    let mut wrong = |message: &dyn Display, code| {
        say(message);
        exit = code;
    };
    if let Some(Err(error)) =
        within_runtime(async { config.broker.builder().connect_lazily().await.map(drop) })
    {
        wrong(&error, Exit::Config);
    }
    let files = config.files.clone();
    if let Err(error) = Edition::new(0, config) {
        wrong(&error, Exit::Config);
    }
    if let Some(Err(error)) = files.as_ref().map(publish::check) {
        wrong(&error, Exit::Directory);
    }
    exit
}

fn get(arguments: &GetArgs) -> Exit {
    hardening::harden();
    let config = match Config::load(&arguments.config.config) {
        Ok(config) => config,
        Err(faults) => {
            say(&faults);
            return Exit::Config;
        }
    };
    match within_runtime(get::get(&config, arguments)) {
        Some(Ok(())) => Exit::Ok,
        Some(Err(error)) => {
            say(&error);
            Exit::Failed
        }
        None => Exit::Failed,
    }
}

/// One thread: there is little to do, and memory is dear.
fn within_runtime<T>(work: impl Future<Output = T>) -> Option<T> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Some(runtime.block_on(work)),
        Err(error) => {
            say(&error);
            None
        }
    }
}

/// For people, on standard error; when nobody reads it, the code has to do.
fn say(message: &dyn Display) {
    let _ = writeln!(io::stderr(), "leasehold-sidecar: {message}");
}
