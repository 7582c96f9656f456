//! `leasehold audit`: read the audit journal, through the broker or from its files, and prove that it is whole.

mod record;
mod source;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use leasehold_audit::{Filter, Head, OutcomeKind};
use leasehold_core::{LeaseId, RequestId, SecretPath, Timestamp, path::PathPrefix, record::Kind};

pub(crate) use self::record::RecordView;
use crate::{clock, complete, connection::Connection, exit::Failure, output::Output};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// The last records, and with --follow each new one as it becomes durable
    Tail {
        /// How many of the last records
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=10_000))]
        lines: u32,
        /// Go on until interrupted
        #[arg(long, short, conflicts_with = "dir")]
        follow: bool,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        files: Files,
    },
    /// Every record that fits the conditions
    Query {
        /// At most so many
        #[arg(long, value_name = "COUNT")]
        limit: Option<u32>,
        /// Of the call that was refused with this in its message, or with a client's own name for a request. Every other
        /// record is read too, and passed over: say more to be faster
        #[arg(long, value_name = "ID")]
        request_id: Option<RequestId>,
        /// From this record on
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        from: u64,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        files: Files,
    },
    /// Check a journal's chain, sequence and joins; needs no broker and no key
    Verify {
        /// The journal, or the state directory that it is in
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// A record's `SEQUENCE:HASH` that was noted before: the journal must still have it. Without one, nobody can
        /// tell a journal whose end was removed
        #[arg(long, value_name = "HEAD", value_parser = verify::parse_head)]
        known: Option<Head>,
    },
}

/// Which records: those that fit everything given.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// Of this kind, such as `lease.issued`; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,
    /// Of this actor, or with a `/` at the end of those below it
    #[arg(long, value_name = "SPIFFE-ID")]
    actor: Option<String>,
    /// About this secret
    #[arg(long, value_name = "SECRET", conflicts_with = "prefix", add = complete::secrets())]
    secret: Option<SecretPath>,
    /// About secrets under this prefix, with a `/` at the end
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<PathPrefix>,
    /// About this lease
    #[arg(long, value_name = "LEASE", add = complete::leases())]
    lease: Option<LeaseId>,
    /// With this outcome
    #[arg(long, value_enum, value_name = "OUTCOME")]
    outcome: Option<OutcomeArg>,
    /// At this time or later: `2026-11-22T08:00:00Z`, or as long ago as `1h30m`
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    until: Option<Timestamp>,
}

/// Where the journal is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Files {
    /// Read the journal's files here and not through the broker (its user or root can)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutcomeArg {
    Ok,
    Denied,
    Failed,
}

/// What to read.
struct Query {
    filter: Filter,
    from: u64,
    tail: Option<u32>,
    limit: Option<u32>,
    follow: bool,
    request_id: Option<RequestId>,
}

pub(crate) async fn run(
    command: AuditCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let (query, files) = match command {
        AuditCommand::Verify { dir, known } => return verify::run(&dir, known, output).await,
        AuditCommand::Tail { lines, follow, filter, files } => (
            Query {
                filter: filter.into(),
                from: 0,
                tail: Some(lines),
                limit: None,
                follow,
                request_id: None,
            },
            files,
        ),
        AuditCommand::Query { limit, request_id, from, filter, files } => {
            (Query { filter: filter.into(), from, tail: None, limit, follow: false, request_id }, files)
        }
    };
    match files.dir {
        Some(dir) => source::from_files(&query, &dir, output),
        None => source::from_broker(&query, &connection.open().await?, output).await,
    }
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            kinds: args.kinds,
            actor: args.actor,
            secret: args.secret,
            prefix: args.prefix,
            lease: args.lease,
            since: args.since,
            until: args.until,
            outcome: args.outcome.map(|outcome| match outcome {
                OutcomeArg::Ok => OutcomeKind::Ok,
                OutcomeArg::Denied => OutcomeKind::Denied,
                OutcomeArg::Failed => OutcomeKind::Failed,
            }),
        }
    }
}

/// A kind by its stable name.
fn kind(text: &str) -> Result<Kind, String> {
    serde_json::from_value(text.into()).map_err(|why| {
        // serde's own message lists the kinds that there are.
        why.to_string()
    })
}
