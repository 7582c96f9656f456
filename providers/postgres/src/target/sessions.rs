//! The end of a user's sessions, where its password alone does not end them.

use std::time::Duration;

use tokio::time::sleep;

use super::account::Account;
use crate::{error::Failure, server::Server, sql::literal};

/// A session takes this long to end, and longer when it is busy.
const SESSION_ENDS: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(320);

/// Ends a user's sessions, all or those that began before a moment of the server's clock, until there are none.
pub(super) async fn end(
    server: &Server,
    account: &Account,
    user: &str,
    begun_before: Option<&str>,
) -> Result<(), Failure> {
    let since = match begun_before {
        Some(moment) => format!(" AND backend_start < {}::pg_catalog.timestamptz", literal(moment)),
        None => String::new(),
    };
    let terminate = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE usename = {} AND pid <> pg_catalog.pg_backend_pid(){since}",
        literal(user)
    );
    // One text is one transaction: nobody else ever sees the membership.
    let (statements, at) = match account.to_end_sessions(user) {
        Some((grant, revoke)) => (format!("{grant}\n;\n{terminate}\n;\n{revoke}"), 1),
        None => (terminate, 0),
    };
    let mut look = SESSION_ENDS;
    while !server.ask(&statements).await?.rows(at).is_empty() {
        sleep(look).await;
        look = look.saturating_mul(2).min(LONGEST_LOOK);
    }
    Ok(())
}
