//! A session of the broker's on the server that was left without its answer: nobody knows whether it has done what it was
//! asked, or is going to.

use std::time::Duration;

use tokio::time::sleep;

use crate::{error::Failure, server::Server, sql::literal};

/// A session, as the server names it. Numbers are used again, so the time at which it began belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub(crate) number: i32,
    pub(crate) began: String,
}

/// A session takes this long to end, and longer when it is busy.
const ENDS: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(320);

impl Server {
    /// Ends a session that was left, and waits until it is gone: what it was asked is done then, or never will be, even if
    /// it is still on its way to it.
    pub(crate) async fn cut_off(&self, left: &Session) -> Result<(), Failure> {
        let statement = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid = {} AND extract(epoch FROM backend_start)::pg_catalog.text = {}",
            left.number,
            literal(&left.began)
        );
        let mut look = ENDS;
        while !self.ask(&statement).await?.last().is_empty() {
            sleep(look).await;
            look = look.saturating_mul(2).min(LONGEST_LOOK);
        }
        Ok(())
    }
}
