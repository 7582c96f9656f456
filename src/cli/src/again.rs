//! `--watch` of listings: the same again and again, each time in the place of the one before.

use std::time::Duration;

use clap::Args;

use crate::{
    duration,
    exit::{Exit, Failure},
    output::{Format, Output},
};

/// Whether and how often it is shown again.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Again {
    /// Show it again and again, every two seconds when no other time is given
    #[arg(
        long,
        value_parser = duration::parse,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s"
    )]
    watch: Option<Duration>,
}

impl Again {
    /// Shows it once, or until interrupted. A broker that is away for a while does not end it.
    pub(crate) async fn show(
        self,
        what: &str,
        output: &mut Output,
        mut once: impl AsyncFnMut(&mut Output) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(interval) = self.watch else { return once(output).await };
        if output.format == Format::Json {
            return Err(Failure::usage("a watch has no end: write it with --output jsonl"));
        }
        let title = format!("every {}: leasehold {what}", duration::show(interval));
        loop {
            output.page(&title)?;
            match once(output).await {
                Err(failure) if failure.exit == Exit::Unavailable && output.format == Format::Table => {
                    output.line(&failure.message)?;
                }
                other => other?,
            }
            tokio::time::sleep(interval).await;
        }
    }
}
