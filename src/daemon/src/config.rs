//! The configuration: types, defaults, and a parser that tells every fault at once, with its place and a way out.
//!
//! One file an element. Reading has no effects: what the configuration names (certificates, keys, policies) is opened
//! by [`crate::compose`], and for `check-config` by [`crate::check`].

pub mod cache;
mod clock;
pub mod identity;
pub mod ledger;
pub mod limits;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod policy;
pub mod provider;
pub mod rotation;
pub mod runtime;
pub mod seal;
pub mod secret;

use std::path::{Path, PathBuf};

use leasehold_config::{element, section, section::Section, table};
use leasehold_core::catalog::Catalog;

use self::fault::{Place, Sink};

pub use leasehold_config::{Fault, Faults, Size, Source, fault};

/// Everything that an operator says. Relative paths are made absolute against the folder of the file they stand in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The main file.
    pub file: PathBuf,
    /// `[listen]`: where and with which certificates.
    pub listen: listen::Listen,
    /// `[identity]`: whose identities are taken, and what they stand for.
    pub identity: identity::Identity,
    /// `[seal]`: the key for what is kept at rest.
    pub seal: seal::Seal,
    /// `[ledger]`: the durable state.
    pub ledger: ledger::Ledger,
    /// `[policy]`: who may do what.
    pub policy: policy::Policy,
    /// `[limits]`: how much of everything.
    pub limits: limits::Limits,
    /// `[clock]`: how the machine's time of day is followed.
    pub clock: crate::clock::Rules,
    /// `[cache]`: values in memory.
    pub cache: cache::Cache,
    /// `[rotation]`: how much is rotated at once.
    pub rotation: rotation::Rotation,
    /// `[log]`: what is logged and how.
    pub log: log::Log,
    /// `[metrics]`: figures for Prometheus.
    pub metrics: metrics::Metrics,
    /// `[runtime]`: threads.
    pub runtime: runtime::Runtime,
    /// `[[provider]]`: the back ends, in the order of the file.
    pub providers: Vec<provider::Provider>,
    /// `[[secret]]` and `[[mount]]`, of the main file and of `secrets.d`.
    pub catalog: Catalog,
}

/// The folder next to the main file whose `*.toml` files hold more secrets and mounts.
pub const SECRETS_FOLDER: &str = "secrets.d";

impl Config {
    /// Reads the main file and `secrets.d/*.toml` next to it.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        let main = Source::read(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()))?;
        let sink = Sink::default();
        let more = secret_files(&main, &sink);
        Self::parse_into(&main, &more, sink)
    }

    /// Reads texts: the main file, and files with secrets and mounts only.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(main: &Source, more: &[Source]) -> Result<Self, Faults> {
        Self::parse_into(main, more, Sink::default())
    }

    fn parse_into(main: &Source, more: &[Source], sink: Sink) -> Result<Self, Faults> {
        let mut entries = secret::Entries::default();
        let mut unreadable = provider::Unreadable::default();
        let config = table(main, &sink).and_then(|table| {
            let root = Section::root(table.get_ref(), main, &sink);
            entries.read(&root);
            let config = Self::read(&root, main.file(), &mut unreadable);
            root.finish();
            config
        });
        for source in more {
            if let Some(table) = table(source, &sink) {
                let root = Section::root(table.get_ref(), source, &sink);
                entries.read(&root);
                root.finish();
            }
        }
        let known = config.as_ref().map(|config| config.providers.as_slice());
        let catalog = entries.into_catalog(known, &unreadable, &sink);
        if let (Some(known), Some(catalog)) = (known, &catalog) {
            provider::check_administrators(known, catalog, &sink);
        }
        let config = config.zip(catalog).map(|(config, catalog)| Self { catalog, ..config });
        sink.finish(config, main.place(&(0..0)))
    }

    /// The main file's sections; `None` when one of them has a fault that leaves a hole.
    fn read(root: &Section<'_>, file: &Path, unreadable: &mut provider::Unreadable) -> Option<Self> {
        // INVARIANT: every section is read before the first `?`, so that every fault is told.
        let listen = listen::read(root.section("listen"));
        let identity = identity::read(root.section("identity"));
        let seal = seal::read(root.section("seal"));
        let ledger = ledger::read(root.section("ledger"));
        let policy = policy::read(root.section("policy"));
        let limits = limits::read(root.section("limits"));
        let clock = clock::read(root.section("clock"));
        let cache = cache::read(root.section("cache"));
        let rotation = rotation::read(root.section("rotation"));
        let log = log::read(root.section("log"));
        let metrics = metrics::read(root.section("metrics"));
        let runtime = runtime::read(root.section("runtime"));
        let state = ledger.as_ref().map(|ledger| ledger.dir.as_path());
        let mut providers = provider::read_all(root.sections("provider"), state, &limits, unreadable);
        provider::read_roles(root.sections("role"), &mut providers, unreadable);
        Some(Self {
            file: file.to_owned(),
            listen: listen?,
            identity: identity?,
            seal: seal?,
            ledger: ledger?,
            policy,
            limits,
            clock,
            cache,
            rotation,
            log,
            metrics,
            runtime,
            providers,
            catalog: Catalog::default(),
        })
    }
}

/// The files of `secrets.d`, in the order of their names.
fn secret_files(main: &Source, sink: &Sink) -> Vec<Source> {
    let folder = main.folder().join(SECRETS_FOLDER);
    let unreadable = |error: std::io::Error| {
        let place = Place { file: folder.as_path().into(), line: 1, column: 1 };
        sink.put(place, format!("cannot be read: {error}"), "make the folder readable for the broker's user");
    };
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.map_err(unreadable).ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            unreadable(error);
            Vec::new()
        }
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let read = |file: &PathBuf| match Source::read(file) {
        Ok(source) => Some(source),
        Err(faults) => {
            faults.iter().for_each(|fault| sink.put(fault.place.clone(), &*fault.message, &*fault.help));
            None
        }
    };
    files.iter().filter_map(read).collect()
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
