//! What the command goes by: options, variables and the configuration file, one upon the other.
//!
//! From the strongest: options; the context that `--context` names; variables; the current context; the file's own
//! `output`, `color` and `timeout`; what is built in. A context is one broker: when the address is said by an option or a
//! variable, the current context has nothing to do with it and is left alone.

pub(crate) mod addresses;
pub(crate) mod edit;
pub(crate) mod file;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, Args, parser::ValueSource};
use leasehold_core::SpiffeId;

use self::{
    addresses::Addresses,
    file::{Context, ContextName, File},
};
use crate::{complete, connection::Connection, duration, exit::Failure, look::ColorWhen, output::Format};

/// The options that every command has, and their variables.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Options {
    /// How to write what is found; `table` when nothing else is said
    #[arg(long, short, global = true, env = "LEASEHOLD_OUTPUT", value_enum, value_name = "FORM")]
    output: Option<Format>,

    /// When to write in colours; `auto` when nothing else is said
    #[arg(long, global = true, env = "LEASEHOLD_COLOR", value_enum, value_name = "WHEN")]
    color: Option<ColorWhen>,

    #[command(flatten)]
    reach: Reach,
}

/// How the broker is reached.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Reach {
    /// The broker of this name in your configuration file; see `leasehold context`
    #[arg(long, global = true, env = "LEASEHOLD_CONTEXT", value_name = "NAME", add = complete::contexts())]
    context: Option<ContextName>,

    /// The broker's address, `host:port`; several of brokers that share their leases, separated by commas, are tried in turn
    #[arg(long, global = true, env = leasehold_client::ENV_ADDR, value_name = "ADDRESS")]
    addr: Option<Addresses>,

    /// A folder with your certificate (`tls.crt`), its key (`tls.key`) and the broker's trust bundle (`ca.crt`), as
    /// Kubernetes mounts them
    #[arg(long, global = true, env = "LEASEHOLD_IDENTITY", value_name = "DIR")]
    identity: Option<PathBuf>,

    /// Your certificate chain (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_CERT, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Your private key (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_KEY, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The authorities that the broker's certificate must come from (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_CA, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The broker's SPIFFE ID, when it is not known by its host name
    #[arg(long, global = true, env = leasehold_client::ENV_SERVER_ID, value_name = "SPIFFE-ID")]
    server_id: Option<SpiffeId>,

    /// How long the broker may take to answer; `30s` when nothing else is said
    #[arg(long, global = true, value_parser = duration::parse, value_name = "DURATION")]
    timeout: Option<Duration>,
}

/// What one layer says.
#[derive(Clone, Debug, Default)]
struct Layer {
    context: Context,
    output: Option<Format>,
    color: Option<ColorWhen>,
    origin: Origin,
}

/// Where a layer comes from.
#[derive(Clone, Debug, Default)]
enum Origin {
    Options,
    Variables,
    Context(ContextName),
    File,
    #[default]
    BuiltIn,
}

/// A value, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An option of the command line.
    Option(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A context of the configuration file.
    Context(ContextName),
    /// The configuration file itself.
    File,
    /// Nobody said anything.
    BuiltIn,
}

/// What the command goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where the configuration file is, or would be.
    pub(crate) path: Option<PathBuf>,
    /// What is in it.
    pub(crate) file: File,
    /// The context that is used.
    pub(crate) context: Option<Found<ContextName>>,
    pub(crate) addr: Option<Found<Addresses>>,
    pub(crate) cert: Option<Found<PathBuf>>,
    pub(crate) key: Option<Found<PathBuf>>,
    pub(crate) ca: Option<Found<PathBuf>>,
    pub(crate) server_id: Option<Found<SpiffeId>>,
    pub(crate) timeout: Found<Duration>,
    pub(crate) output: Found<Format>,
    pub(crate) color: Found<ColorWhen>,
    /// What the options alone say of a broker, for `context add`.
    pub(crate) said: Context,
}

/// An answer may take so long when nobody says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

impl Settings {
    /// What the command line, the environment and the file come to. `matches` says which of the options were variables.
    ///
    /// # Errors
    /// When the file cannot be trusted or understood, or has no such context.
    pub(crate) fn resolve(options: &Options, matches: &ArgMatches) -> Result<Self, Failure> {
        let path = file::path();
        let file = match &path {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::of(options, |name| matches.value_source(name) == Some(ValueSource::EnvVariable), path, file)
    }

    pub(crate) fn of(
        options: &Options,
        is_variable: impl Fn(&str) -> bool,
        path: Option<PathBuf>,
        file: File,
    ) -> Result<Self, Failure> {
        let flags = options.layer(Origin::Options, |name| !is_variable(name));
        let variables = options.layer(Origin::Variables, &is_variable);
        let named = options.reach.context.clone().map(|name| {
            let source = if is_variable("context") {
                Source::Variable("LEASEHOLD_CONTEXT")
            } else {
                Source::Option("--context")
            };
            Found { value: name, source }
        });
        let elsewhere = flags.context.addr.is_some() || variables.context.addr.is_some();
        let (context, is_strong) = match named {
            Some(found) if matches!(found.source, Source::Option(_)) => (Some(found), true),
            _ if elsewhere => (None, false),
            Some(found) => (Some(found), false),
            None => {
                let current = file.current.clone();
                (current.map(|value| Found { value, source: Source::File }), false)
            }
        };
        let of_context = match &context {
            None => Layer::default(),
            Some(Found { value: name, .. }) => {
                let found =
                    file.context.get(name).ok_or_else(|| no_such_context(name, &file, path.as_deref()))?;
                Layer { context: found.clone(), origin: Origin::Context(name.clone()), ..Layer::default() }
            }
        };
        let of_file = Layer {
            context: Context { timeout: file.timeout, ..Context::default() },
            output: file.output,
            color: file.color,
            origin: Origin::File,
        };
        let layers = if is_strong {
            [&flags, &of_context, &variables, &of_file]
        } else {
            [&flags, &variables, &of_context, &of_file]
        };
        let pem = |own: fn(&Context) -> Option<&PathBuf>, option, variable, name: &str| {
            layers.iter().find_map(|layer| {
                let in_folder = || {
                    Some((layer.context.identity.as_ref()?.join(name), "--identity", "LEASEHOLD_IDENTITY"))
                };
                let (value, option, variable) =
                    own(&layer.context).map(|path| (path.clone(), option, variable)).or_else(in_folder)?;
                Some(Found { value, source: layer.origin.source(option, variable) })
            })
        };
        Ok(Self {
            cert: pem(|layer| layer.cert.as_ref(), "--cert", leasehold_client::ENV_CERT, "tls.crt"),
            key: pem(|layer| layer.key.as_ref(), "--key", leasehold_client::ENV_KEY, "tls.key"),
            ca: pem(|layer| layer.ca.as_ref(), "--ca", leasehold_client::ENV_CA, "ca.crt"),
            addr: first(layers, "--addr", leasehold_client::ENV_ADDR, |layer| layer.context.addr.clone()),
            server_id: first(layers, "--server-id", leasehold_client::ENV_SERVER_ID, |layer| {
                layer.context.server_id.clone()
            }),
            timeout: first(layers, "--timeout", "", |layer| layer.context.timeout)
                .unwrap_or_else(|| built_in(TIMEOUT)),
            output: first(layers, "--output", "LEASEHOLD_OUTPUT", |layer| layer.output)
                .unwrap_or_else(|| built_in(Format::default())),
            color: first(layers, "--color", "LEASEHOLD_COLOR", |layer| layer.color)
                .unwrap_or_else(|| built_in(ColorWhen::default())),
            context,
            path,
            said: flags.context,
            file,
        })
    }

    /// How the broker is reached.
    pub(crate) fn connection(&self) -> Connection {
        let value = |found: &Option<Found<PathBuf>>| found.as_ref().map(|found| found.value.clone());
        Connection {
            addr: self.addr.as_ref().map(|found| found.value.clone()),
            cert: value(&self.cert),
            key: value(&self.key),
            ca: value(&self.ca),
            server_id: self.server_id.as_ref().map(|found| found.value.clone()),
            timeout: self.timeout.value,
        }
    }
}

impl Options {
    /// What of them comes from there.
    fn layer(&self, origin: Origin, is_from_there: impl Fn(&str) -> bool) -> Layer {
        fn pick<T: Clone>(there: bool, value: &Option<T>) -> Option<T> {
            value.clone().filter(|_| there)
        }
        let reach = &self.reach;
        Layer {
            context: Context {
                addr: pick(is_from_there("addr"), &reach.addr),
                identity: pick(is_from_there("identity"), &reach.identity),
                cert: pick(is_from_there("cert"), &reach.cert),
                key: pick(is_from_there("key"), &reach.key),
                ca: pick(is_from_there("ca"), &reach.ca),
                server_id: pick(is_from_there("server_id"), &reach.server_id),
                timeout: pick(is_from_there("timeout"), &reach.timeout),
            },
            output: pick(is_from_there("output"), &self.output),
            color: pick(is_from_there("color"), &self.color),
            origin,
        }
    }
}

impl Origin {
    fn source(&self, option: &'static str, variable: &'static str) -> Source {
        match self {
            Self::Options => Source::Option(option),
            Self::Variables => Source::Variable(variable),
            Self::Context(name) => Source::Context(name.clone()),
            Self::File => Source::File,
            Self::BuiltIn => Source::BuiltIn,
        }
    }
}

impl Source {
    /// Its kind, under a stable name.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Option(_) => "option",
            Self::Variable(_) => "variable",
            Self::Context(_) => "context",
            Self::File => "file",
            Self::BuiltIn => "built-in",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) | Self::Variable(name) => write!(f, "{} {name}", self.kind()),
            Self::Context(name) => write!(f, "context {name}"),
            Self::File | Self::BuiltIn => f.write_str(self.kind()),
        }
    }
}

fn first<T>(
    layers: [&Layer; 4],
    option: &'static str,
    variable: &'static str,
    said: impl Fn(&Layer) -> Option<T>,
) -> Option<Found<T>> {
    layers
        .into_iter()
        .find_map(|layer| Some(Found { value: said(layer)?, source: layer.origin.source(option, variable) }))
}

const fn built_in<T>(value: T) -> Found<T> {
    Found { value, source: Source::BuiltIn }
}

/// The failure that says which there are.
pub(crate) fn no_such_context(name: &ContextName, file: &File, path: Option<&Path>) -> Failure {
    let place = path.map_or_else(|| "your configuration file".to_owned(), |path| path.display().to_string());
    let known: Vec<_> = file.context.keys().map(ContextName::as_str).collect();
    let way_out = match known.as_slice() {
        [] => format!("`leasehold context add {name} --addr ...` makes it"),
        known => format!("there are {}", known.join(", ")),
    };
    Failure::usage(format!("there is no context `{name}` in {place}: {way_out}"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    const FILE: &str = "\
current = 'prod'
output = 'jsonl'
[context.prod]
addr = 'prod:7443'
identity = '/prod'
server_id = 'spiffe://example.org/leasehold/broker'
timeout = '5s'
[context.stage]
addr = 'stage:7443'
cert = '/stage.crt'
key = '/stage.key'
";

    /// As the options say, of which those named are taken for variables.
    fn resolved(line: &str, variables: &[&str]) -> Result<Settings, Failure> {
        let words = ["leasehold"].into_iter().chain(line.split_whitespace());
        let matches = Line::command().try_get_matches_from(words).unwrap();
        let options = Line::from_arg_matches(&matches).unwrap().options;
        let file = File::parse(FILE, Path::new("/home/x/config.toml")).unwrap();
        Settings::of(&options, |name| variables.contains(&name), None, file)
    }

    fn shown<T: fmt::Debug>(found: &Option<Found<T>>) -> String {
        found.as_ref().map_or_else(String::new, |found| format!("{:?} by {}", found.value, found.source))
    }

    #[test]
    fn the_current_context_is_used_when_nothing_else_is_said() {
        let settings = resolved("", &[]).unwrap();
        assert_eq!(settings.addr.as_ref().unwrap().value.to_string(), "prod:7443");
        assert_eq!(settings.addr.unwrap().source.to_string(), "context prod");
        assert_eq!(shown(&settings.cert), "\"/prod/tls.crt\" by context prod");
        assert_eq!(settings.timeout.value, Duration::from_secs(5));
        assert_eq!((settings.output.value, settings.output.source), (Format::Jsonl, Source::File));
        assert_eq!((settings.color.value, settings.color.source), (ColorWhen::Auto, Source::BuiltIn));
    }

    #[test]
    fn an_address_that_is_said_is_another_broker() {
        for variables in [&[][..], &["addr"]] {
            let settings = resolved("--addr other:1", variables).unwrap();
            assert!(settings.context.is_none() && settings.cert.is_none() && settings.server_id.is_none());
            assert_eq!(settings.timeout.value, TIMEOUT);
        }
    }

    #[test]
    fn options_go_before_variables_and_a_named_context_between_them() {
        let settings = resolved("--context stage --identity /mine --timeout 9s", &["identity"]).unwrap();
        assert_eq!(shown(&settings.cert), "\"/stage.crt\" by context stage");
        assert_eq!(shown(&settings.ca), "\"/mine/ca.crt\" by variable LEASEHOLD_IDENTITY");
        assert_eq!(settings.timeout.source, Source::Option("--timeout"));
        let settings = resolved("--context stage --identity /mine", &[]).unwrap();
        assert_eq!(shown(&settings.key), "\"/mine/tls.key\" by option --identity");
        let settings = resolved("--context stage --identity /mine", &["context", "identity"]).unwrap();
        assert_eq!(shown(&settings.key), "\"/mine/tls.key\" by variable LEASEHOLD_IDENTITY");
        assert_eq!(settings.context.unwrap().source, Source::Variable("LEASEHOLD_CONTEXT"));
    }

    #[test]
    fn a_context_that_is_not_there_names_those_that_are() {
        let failure = resolved("--context live", &[]).unwrap_err();
        assert!(
            failure.message.contains("`live`") && failure.message.ends_with("prod, stage"),
            "{failure:?}"
        );
    }
}
