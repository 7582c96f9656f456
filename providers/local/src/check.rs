//! Whether what the catalog asks can be had here. Nothing is written for it.

use leasehold_core::provider::{Demand, Finding};
use rustix::fs::{Access, access};

use crate::{fault::Fault, reference::Reference, store::Store};

/// What stands for anything in a mount's name.
const REST: &str = "{rest}";

impl Store {
    /// Each demand in turn. Blocking.
    pub(crate) fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        let mut findings = vec![Finding::passed("open the directory", "")];
        findings.extend(demands.iter().map(|demand| match demand {
            Demand::Read { reference } => self.check_read(reference),
            Demand::Write { reference } => self.check_write(reference),
            Demand::Rotate { reference } => Finding::not_native(reference),
            Demand::Generate { policy } => Finding::no_rules(policy),
            Demand::Issue { role } => Finding::failed(
                format!("make credentials of `{role}`"),
                "this back end makes no credentials",
                "lend its secrets by `ref`",
            ),
        }));
        findings
    }

    fn check_read(&self, reference: &str) -> Finding {
        let step = format!("read `{reference}`");
        let parsed = match Reference::parse(&reference.replace(REST, "x")) {
            Ok(parsed) => parsed,
            Err(error) => return Finding::failed(step, error.to_string(), "correct its `ref`"),
        };
        if reference.contains(REST) {
            return Finding::passed(step, "whatever is written under it");
        }
        match self.read(&parsed, None) {
            Ok((version, _)) => Finding::passed(step, format!("version {version}")),
            // That is how every secret begins, and before the broker runs nobody can write it.
            Err(Fault::Absent) => Finding::not_tried(
                step,
                "nothing is there to be read yet: write it with `leasehold secret put`",
            ),
            Err(fault) => {
                let remedy = "see its versions with `leasehold secret versions`; docs/providers/local.md has each error";
                Finding::failed(step, fault.to_string(), remedy)
            }
        }
    }

    fn check_write(&self, reference: &str) -> Finding {
        let step = format!("write `{reference}`");
        if let Err(error) = Reference::parse(&reference.replace(REST, "x")) {
            return Finding::failed(step, error.to_string(), "correct its `ref`");
        }
        match access(&self.root, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::passed(step, ""),
            Err(error) => {
                let problem = format!("{} cannot be written: {error}", self.root.display());
                Finding::failed(
                    step,
                    problem,
                    "give it to the broker's user, on a file system that can be written",
                )
            }
        }
    }
}
