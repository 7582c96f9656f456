//! `leasehold quickstart`: a broker of one's own on this machine, and a tour of what it does.
//!
//! It makes a development authority and identities, starts the real `leaseholdd` as a process of its own, and runs the
//! very commands that it prints, as processes too: nothing is shown that does not work when pasted. None of it is for
//! production; the authority's key is thrown away once the identities are made.

mod authority;
mod broker;
mod command;
mod site;
mod tour;

use std::{env, path::PathBuf};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    broker::Broker,
    command::{Program, quoted},
    site::{Site, Who},
    tour::Tour,
};
use crate::{
    exit::{Exit, Failure},
    output::Output,
};

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// End after the tour, with 0 when every step did what it should
    #[arg(long)]
    once: bool,
    /// The folder for everything; `~/.local/state/leasehold/quickstart` when not given. It is made anew each time
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Whoever ends it: Ctrl-C, a supervisor, or a terminal that is closed.
struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

pub(crate) async fn run(arguments: Quickstart, output: &mut Output) -> Result<(), Failure> {
    show(arguments, output).await.map_err(|failure| match failure.exit {
        // Nobody has seen every step do as said, so this is no success here.
        Exit::Unread => Failure::new(Exit::Failed, "nobody read the tour to its end"),
        _ => failure,
    })
}

async fn show(arguments: Quickstart, output: &mut Output) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let dir = match arguments.dir {
        Some(dir) => dir,
        None => default_dir()?,
    };
    let site = Site::make(&dir)?;
    output.line(&format!(
        "Made a development authority, four identities, a configuration and policies in\n{}\n",
        site.dir().display()
    ))?;
    let mut broker = tokio::select! {
        started = Broker::start(&site) => started?,
        () = interrupt.wait() => return Err(interrupted()),
    };
    output.line(&format!("Started the broker at {}; its log is {}", site.address(), site.log().display()))?;
    let program = Program::own()?;
    let tour = Tour { site: &site, program: &program };
    let toured = tokio::select! {
        toured = tour.run(output) => toured,
        ended = broker.ended() => Err(ended),
        () = interrupt.wait() => Err(interrupted()),
    };
    if toured.is_ok() && !arguments.once {
        output.line(&invitation(&site, &program))?;
        tokio::select! {
            ended = broker.ended() => return Err(ended),
            () = interrupt.wait() => {}
        }
        // A terminal that was closed reads no more, and the broker is to end all the same.
        let _ = output.line("\nEnding the broker.");
    }
    let stopped = broker.stop().await;
    toured.and(stopped)
}

/// How to go on by oneself, in lines that a shell takes.
fn invitation(site: &Site, program: &Program) -> String {
    let path =
        program.folder().map(|folder| format!("  export PATH={}:\"$PATH\"\n", quoted(folder.as_os_str())));
    format!(
        "\nThe broker goes on until Ctrl-C. In another terminal, paste any of these commands, or make up your own after\n\
         {}  export LEASEHOLD_ADDR={} LEASEHOLD_IDENTITY={}\n\
         as the operator; the workloads `payments` and `orders` are beside `admin`.",
        path.unwrap_or_default(),
        site.address(),
        quoted(site.identity(Who::Admin).as_os_str()),
    )
}

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|why| Failure::failed("signals cannot be awaited", why));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted before the end of the tour")
}

/// Where programs keep what is theirs (XDG Base Directory specification).
fn default_dir() -> Result<PathBuf, Failure> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|state| state.join("leasehold/quickstart"))
        .ok_or_else(|| Failure::usage("neither XDG_STATE_HOME nor HOME is set: give --dir"))
}
