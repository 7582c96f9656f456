//! `leasehold lease renew`: a lease's end is moved, and with `--accept-rotation` the lease to the current version.

use std::time::Duration;

use clap::Args;
use leasehold_core::{LeaseId, secret::FieldName};

use super::{
    show,
    view::{IssuedView, LeaseView},
    write_field,
};
use crate::{
    complete,
    connection::Connection,
    duration,
    exit::{About, Exit, Failure},
    output::{Format, Output},
    value::may_be_shown,
};

#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The lease's id
    #[arg(value_name = "LEASE", add = complete::leases())]
    lease: LeaseId,
    /// How long from now; the secret's default when not given, and never past the lease's maximum
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// Use the secret's current version from now on, if the lease is on an older one; its value is written only with
    /// --field or as JSON
    #[arg(long)]
    accept_rotation: bool,
    /// Write the bytes of this field of the current version
    #[arg(long, value_name = "NAME", requires = "accept_rotation")]
    field: Option<FieldName>,
    /// Write the value though a terminal shows it
    #[arg(long, requires = "accept_rotation")]
    reveal: bool,
}

impl Renew {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
        let Self { lease, ttl, .. } = self;
        if !self.accept_rotation {
            let renewed = connection.open().await?.renew_lease(lease, ttl).await.about(lease)?;
            return show(&LeaseView::of(&renewed), output);
        }
        let as_table = output.format == Format::Table;
        if !as_table || self.field.is_some() {
            may_be_shown(self.reveal)?;
        }
        let moved = connection.open().await?.move_lease(lease, ttl).await.about(lease)?;
        match (&self.field, &moved.value) {
            _ if !as_table => output.item(&IssuedView::of(&moved.lease, moved.value.as_ref()), &[]),
            (None, _) => show(&LeaseView::of(&moved.lease), output),
            (Some(name), Some(value)) => write_field(&moved.lease, value, name, output),
            (Some(_), None) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "{lease} was renewed, and is on the current version already: its value is not given a second time"
                ),
            )),
        }
    }
}
