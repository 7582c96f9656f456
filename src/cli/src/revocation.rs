//! `leasehold revocation`: how far the revocations of many leases have come. They are begun by `leasehold lease revoke`.

mod view;

use clap::Subcommand;
use leasehold_client::{Operator, Page, proto};
use leasehold_core::RevocationId;

pub(crate) use self::view::RevocationView;
use crate::{
    again::Again,
    complete,
    connection::Connection,
    exit::{About, Exit, Failure},
    output::{Format, Output},
    progress::{Progress, bar},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RevocationCommand {
    /// List the revocations of many leases of the last day, the newest first
    List {
        #[command(flatten)]
        again: Again,
    },
    /// Watch a revocation until its end
    Watch {
        /// The revocation's id
        #[arg(value_name = "REVOCATION", add = complete::revocations())]
        revocation: RevocationId,
    },
}

/// How many revocations one call asks for.
const PAGE: u32 = 500;

pub(crate) async fn run(
    command: RevocationCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let operator = connection.open().await?.operator();
    match command {
        RevocationCommand::List { again } => {
            again.show("revocation list", output, async |output| list(&operator, output).await).await
        }
        RevocationCommand::Watch { revocation } => until_ended(&operator, revocation, output).await,
    }
}

async fn list(operator: &Operator, output: &mut Output) -> Result<(), Failure> {
    let mut list = output.list();
    let mut token = None;
    loop {
        let Page { items, next_page_token } = operator.revocations(PAGE, token).await?;
        for revocation in &items {
            list.push(&RevocationView::of(revocation))?;
        }
        token = next_page_token;
        if token.is_none() {
            return list.finish("no revocations within the last day");
        }
    }
}

/// Shows how far it comes until its end: on a terminal in one line that changes, else a line a change; as one JSON
/// document, the end alone.
pub(crate) async fn until_ended(
    operator: &Operator,
    id: RevocationId,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut progress = operator.watch_revocation(id).await.about(id)?;
    let mut line = Progress::new(output.format == Format::Table);
    let mut last = None;
    if line.is_on() || output.format == Format::Json {
        while let Some(revocation) = progress.next().await.about(goes_on(id))? {
            let view = RevocationView::of(&revocation);
            line.show(&format!("{} {}", bar(view.done, view.total), view.in_a_line()));
            last = Some(view);
        }
        line.clear();
        if let Some(view) = &last {
            output.item(view, &view.parts())?;
        }
    } else {
        let mut list = output.stream();
        while let Some(revocation) = progress.next().await.about(goes_on(id))? {
            let view = RevocationView::of(&revocation);
            list.push(&view)?;
            last = Some(view);
        }
        list.finish("")?;
    }
    match last {
        Some(view) if view.is_finished() => view.verdict(),
        _ => Err(Failure::new(Exit::Unavailable, format!("{}: the broker ended the watch", goes_on(id)))),
    }
}

/// The id of what was begun.
pub(crate) fn id_of(revocation: &proto::Revocation) -> Result<RevocationId, Failure> {
    revocation.id.parse().map_err(|why| Failure::failed("the broker's answer", why))
}

fn goes_on(id: RevocationId) -> String {
    format!("{id} goes on, `leasehold revocation watch` shows it")
}
