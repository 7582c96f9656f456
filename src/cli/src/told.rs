//! Watches whose end only their reader decides: `lease watch` and `secret watch`.

use clap::Args;
use leasehold_client::Error;

use crate::{
    exit::Failure,
    output::{Format, Output, Row},
};

/// Where a watch begins and ends.
#[derive(Debug, Args)]
pub(crate) struct Told {
    /// Go on behind this place, which an earlier watch wrote with --output jsonl
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// One thing that is told.
pub(crate) trait Tells: Row {
    /// Where to go on after it.
    fn resume_token(&self) -> &str;
}

impl Told {
    /// Writes what comes, as it comes. A watcher that was left behind goes on where it was.
    pub(crate) async fn run<S, R: Tells>(
        self,
        output: &mut Output,
        mut begin: impl AsyncFnMut(Option<String>) -> Result<S, Failure>,
        mut next: impl AsyncFnMut(&mut S) -> Result<Option<R>, Error>,
    ) -> Result<(), Failure> {
        const NOTHING: &str = "nothing happened";
        if output.format == Format::Json {
            return Err(Failure::usage("a watch has no end: write it with --output jsonl"));
        }
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut place = self.resume;
        let mut list = output.stream();
        while left > 0 {
            let mut watch = begin(place.clone()).await?;
            while left > 0 {
                match next(&mut watch).await {
                    Ok(Some(told)) => {
                        place = Some(told.resume_token().to_owned());
                        list.push(&told)?;
                        left = left.saturating_sub(1);
                    }
                    // Somebody stopped reading for a while: what was missed comes now.
                    Err(error) if error.reason() == Some("WATCH_LAGGED") => break,
                    Ok(None) => return list.finish(NOTHING),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        list.finish(NOTHING)
    }
}
