//! Where the log goes and how it looks. Never a value: what could print one does not log below `info`.

use std::io::IsTerminal;

use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::log::{Format, Log};

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The variable's text is no filter.
    #[error("{VARIABLE} is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else has set one up.
    #[error("the log is set up already")]
    Twice,
}

/// What goes before the configuration's `level`.
const VARIABLE: &str = "LEASEHOLD_LOG";

/// Crates that print requests and responses, with what is in them, when they are asked for details.
const TALKATIVE: [&str; 8] =
    ["aws_config", "aws_runtime", "aws_sdk", "aws_smithy", "h2", "hyper", "rustls", "tower"];

/// Sends the log to standard error from now on: text on a terminal, JSON otherwise, unless the configuration says.
///
/// # Errors
/// When `LEASEHOLD_LOG` is no filter, or there is a log already.
pub fn start(settings: &Log) -> Result<(), LogError> {
    let directives = std::env::var(VARIABLE).unwrap_or_else(|_| settings.level.clone());
    let filter = EnvFilter::try_new(directives)?;
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_talkative_stay_silent_below_info_even_when_asked() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let recorder = filter_fn(move |metadata| {
            sink.lock().unwrap().push((metadata.target().to_owned(), is_harmless(metadata)));
            false
        });
        let subscriber = tracing_subscriber::registry().with(fmt::layer().with_filter(recorder));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "aws_smithy_runtime::client", "x");
            tracing::info!(target: "aws_smithy_runtime::client", "x");
            tracing::debug!(target: "h2::codec", "x");
            tracing::debug!(target: "leaseholdd::reload", "x");
        });
        let harmless = |target: &str| -> Vec<bool> {
            seen.lock().unwrap().iter().filter(|(name, _)| name == target).map(|(_, ok)| *ok).collect()
        };
        assert!(harmless("aws_smithy_runtime::client").contains(&false));
        assert!(harmless("aws_smithy_runtime::client").contains(&true));
        assert!(harmless("h2::codec").iter().all(|ok| !ok));
        assert!(harmless("leaseholdd::reload").iter().all(|ok| *ok));
    }
}
