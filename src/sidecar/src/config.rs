//! The configuration: one TOML file, whose faults are told all at once, each with its place and a way out.
//!
//! One file a section. Reading has no effects: directories, identities and templates are opened when they are used, and
//! by `check-config`.

mod broker;
pub mod cache;
pub mod endpoint;
pub mod exec;
pub mod file;
pub mod files;
pub mod health;
pub mod log;
pub mod on_change;
mod secret;
pub mod socket;

use std::path::{Path, PathBuf};

use leasehold_config::{Faults, Section, Sink, Source, table};

pub use self::{
    broker::{Broker, Credentials, IdentityFiles},
    cache::Cache,
    endpoint::Endpoint,
    exec::Exec,
    file::{File, Form, Template},
    files::Files,
    health::Health,
    log::Log,
    on_change::OnChange,
    secret::Secret,
};

/// Everything that the file says. Relative paths are made absolute against the folder of the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file.
    pub file: PathBuf,
    /// `[broker]`: where the broker is, and who the sidecar is.
    pub broker: Broker,
    /// `[[secret]]`: what is leased.
    pub secrets: Vec<Secret>,
    /// `[files]`: where files go; absent when there are no `[[file]]`s.
    pub files: Option<Files>,
    /// `[[file]]`: what is in them.
    pub file_list: Vec<File>,
    /// `[[on_change]]`: who is told of a change.
    pub on_change: Vec<OnChange>,
    /// `[exec]`: how a program is run by `exec`.
    pub exec: Exec,
    /// `[endpoint]`: who may ask for values on this machine.
    pub endpoint: Option<Endpoint>,
    /// `[cache]`: what is kept on disk for a restart without the broker.
    pub cache: Option<Cache>,
    /// `[health]`: where one can ask how the sidecar is.
    pub health: Option<Health>,
    /// `[log]`: what is logged and how.
    pub log: Log,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        Self::parse(&Source::read(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()))?)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(source: &Source) -> Result<Self, Faults> {
        Self::parse_into(source, Sink::default())
    }

    fn parse_into(source: &Source, sink: Sink) -> Result<Self, Faults> {
        let config = table(source, &sink).and_then(|table| {
            let root = Section::root(table.get_ref(), source, &sink);
            let config = Self::read(&root, source.file());
            root.finish();
            config
        });
        sink.finish(config, source.place(&(0..0)))
    }

    fn read(root: &Section<'_>, file: &Path) -> Option<Self> {
        // INVARIANT: every section is read before the first `?`, so that every fault is told.
        let broker = broker::read(root.section("broker"));
        let secrets = secret::read_all(root);
        let file_list = file::read_all(root.sections("file"), secrets.as_deref());
        let files = files::read(root, file_list.as_deref());
        let on_change =
            on_change::read_all(root.sections("on_change"), &known(&secrets, &file_list), secrets.as_deref());
        let exec = exec::read(root.section("exec"), secrets.as_deref());
        let endpoint =
            root.try_section("endpoint").map(|section| endpoint::read(section, secrets.as_deref()));
        let cache = root.try_section("cache").map(|section| cache::read(section, broker.as_ref()));
        let health = root.try_section("health").map(health::read);
        let log = log::read(root.section("log"));
        Some(Self {
            file: file.to_owned(),
            broker: broker?,
            secrets: secrets?,
            files: files?,
            file_list: file_list?,
            on_change: on_change?,
            exec: exec?,
            endpoint: transposed(endpoint)?,
            cache: transposed(cache)?,
            health: transposed(health)?,
            log,
        })
    }
}

/// A section that may be absent, but not faulty.
fn transposed<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

/// The names that `only_for` may name; `None` when they are not known for another fault.
fn known<'c>(secrets: &'c Option<Vec<Secret>>, files: &'c Option<Vec<File>>) -> Option<Vec<&'c str>> {
    let secrets = secrets.as_ref()?.iter().map(|secret| secret.name.as_str());
    let files = files.as_ref()?.iter().map(|file| file.name.as_str());
    Some(secrets.chain(files).collect())
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
