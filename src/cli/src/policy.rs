//! `leasehold policy`: check a folder of policies, and ask what they would decide. Both work on files; what a running
//! broker decides is in its audit journal.

mod settings;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValue};
use leasehold_core::{
    SecretPath, SpiffeId,
    access::{AccessRequest, Action, Concern, Resource},
    secret::FieldName,
};
use leasehold_policy::Policies;
use serde::Serialize;

use self::settings::Source;
use crate::{
    complete, duration,
    exit::{Exit, Failure},
    output::{Format, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check every policy of a folder against the schema, and tell every fault
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Ask whether a request would be allowed, and why; ends with 3 when it would not
    Explain(Box<Explain>),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Who would ask
    #[arg(long, value_name = "SPIFFE-ID")]
    principal: SpiffeId,
    /// For what
    #[arg(long, value_enum, value_name = "ACTION")]
    action: ActionArg,
    /// On which secret; on the broker itself when not given
    #[arg(long, value_name = "SECRET", add = complete::secrets())]
    secret: Option<SecretPath>,
    /// With this TTL
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    ttl: Option<std::time::Duration>,
    /// With this field; may be given several times
    #[arg(long = "field", value_name = "NAME")]
    fields: Vec<FieldName>,
    #[command(flatten)]
    source: Source,
}

/// An action by its name in policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActionArg(Action);

#[derive(Serialize)]
struct CheckView {
    folder: String,
    digest: String,
    policies: Vec<String>,
    warnings: Vec<String>,
}

pub(crate) fn run(command: PolicyCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check { source } => check(&source, output),
        PolicyCommand::Explain(explain) => explain.run(output),
    }
}

fn load(source: &Source) -> Result<(PathBuf, Policies), Failure> {
    let (folder, settings) = source.read()?;
    match Policies::load(&folder, settings) {
        Ok(policies) => Ok((folder, policies)),
        Err(errors) => {
            Err(Failure::new(Exit::Failed, format!("the policies are refused as a whole:\n{errors}")))
        }
    }
}

fn check(source: &Source, output: &mut Output) -> Result<(), Failure> {
    let (folder, policies) = load(source)?;
    let view = CheckView {
        folder: folder.display().to_string(),
        digest: policies.digest().to_owned(),
        policies: policies.names().map(str::to_owned).collect(),
        warnings: policies.warnings().iter().map(ToString::to_string).collect(),
    };
    let mut parts = vec![
        ("folder", view.folder.clone()),
        ("verdict", "good".to_owned()),
        ("digest", view.digest.clone()),
        ("policies", view.policies.join(", ")),
    ];
    parts.extend(view.warnings.iter().map(|warning| ("warning", warning.clone())));
    output.item(&view, &parts)
}

impl Explain {
    fn run(self, output: &mut Output) -> Result<(), Failure> {
        let (_, policies) = load(&self.source)?;
        let lends = matches!(self.action.0, Action::IssueLease | Action::RenewLease);
        let mut context = BTreeMap::new();
        if lends {
            let fields: Vec<_> = self.fields.iter().map(FieldName::as_str).collect();
            context.insert("fields".to_owned(), fields.into());
            if let Some(ttl) = self.ttl {
                context.insert("ttl_seconds".to_owned(), ttl.as_secs().into());
            }
        }
        let concern = self.action.0.concerns();
        let resource = match self.secret {
            Some(_) if concern == Concern::Broker => {
                return Err(Failure::usage(format!(
                    "{} is about the broker: leave --secret out",
                    self.action.0
                )));
            }
            None if concern == Concern::Secret => {
                return Err(Failure::usage(format!("{} is about a secret: give --secret", self.action.0)));
            }
            Some(path) => Resource::Secret(path),
            None => Resource::Broker,
        };
        let request =
            AccessRequest { principal: &self.principal, action: self.action.0, resource: &resource, context };
        let explanation = policies.explain(&request);
        if output.format == Format::Table {
            explanation.to_string().lines().try_for_each(|line| output.line(line))?;
        } else {
            output.item(&explanation, &[])?;
        }
        if explanation.decision.is_allowed() {
            return Ok(());
        }
        Err(Failure::new(Exit::Denied, format!("{} would be denied", self.action.0)))
    }
}

impl ValueEnum for ActionArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: &[ActionArg] = &[
            ActionArg(Action::IssueLease),
            ActionArg(Action::RenewLease),
            ActionArg(Action::ReadLease),
            ActionArg(Action::RevokeLease),
            ActionArg(Action::ForgetLease),
            ActionArg(Action::DescribeSecret),
            ActionArg(Action::WriteSecret),
            ActionArg(Action::ChangeSecret),
            ActionArg(Action::RotateSecret),
            ActionArg(Action::ReadStatus),
            ActionArg(Action::CheckProvider),
            ActionArg(Action::SweepOrphans),
            ActionArg(Action::ReleaseHold),
            ActionArg(Action::ReadAudit),
            ActionArg(Action::ExplainDenial),
        ];
        ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_can_be_asked_about() {
        let named: Vec<_> = ActionArg::value_variants().iter().map(|action| action.0).collect();
        assert_eq!(named, Action::ALL);
    }
}
