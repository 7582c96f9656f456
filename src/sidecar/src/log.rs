//! Where the log goes and how it looks: to standard error, never with a value.

use std::io::IsTerminal;

use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::log::{Format, Log};

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The variable's text is no filter.
    #[error("{VARIABLE} is not a log filter: {0}")]
    Filter(#[from] ParseError),
    /// Somebody else has set one up.
    #[error("the log is set up already")]
    Twice,
}

/// What goes before the configuration's `level`.
const VARIABLE: &str = "LEASEHOLD_LOG";

/// Crates that print requests and responses, with what is in them, when they are asked for details.
const TALKATIVE: [&str; 5] = ["h2", "hyper", "rustls", "tonic", "tower"];

/// Sends the log to standard error from now on.
///
/// # Errors
/// When `LEASEHOLD_LOG` is no filter, or there is a log already.
pub fn start(settings: &Log) -> Result<(), LogError> {
    let directives = std::env::var(VARIABLE).unwrap_or_else(|_| settings.level.clone());
    let filter: Targets = directives.parse()?;
    let json = match settings.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    };
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let quiet = layer.with_filter(filter_fn(is_harmless));
    tracing_subscriber::registry().with(filter).with(quiet).try_init().map_err(|_| LogError::Twice)
}

/// Whether an event cannot hold a value, whatever the filter says.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= Level::INFO || !TALKATIVE.iter().any(|name| target.starts_with(name))
}
