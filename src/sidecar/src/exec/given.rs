//! What a program is given of a snapshot: variables, and what it reads from a descriptor.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};
use leasehold_programs::Fields;
use thiserror::Error;

use crate::{
    config::{Exec, exec::Part},
    name::Name,
    snapshot::{Loan, Snapshot},
};

/// Why a program cannot be given something. Never with a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GivenError {
    /// The secret is not held.
    #[error("the secret `{0}` is not held")]
    NotHeld(Name),
    /// It has no such field.
    #[error("the secret `{secret}` has no field `{field}`: it has {known}")]
    NoField {
        /// The secret.
        secret: Name,
        /// The field.
        field: FieldName,
        /// The fields that there are.
        known: String,
    },
    /// What a variable cannot hold.
    #[error("the value for `{0}` has a zero byte, which no variable can hold: give it in a file or by `fd`")]
    ZeroByte(String),
}

/// What a program is given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) variables: Vec<(String, SecretBytes)>,
    /// What is on the descriptor.
    pub(super) memory: Option<SecretBytes>,
}

impl Given {
    pub(super) fn of(settings: &Exec, snapshot: &Snapshot) -> Result<Self, GivenError> {
        let held = |name: &Name| snapshot.secrets.get(name).ok_or_else(|| GivenError::NotHeld(name.clone()));
        let mut variables = Vec::with_capacity(settings.environment.len());
        for (name, part) in &settings.environment {
            let value = part_of(part, held(&part.secret)?)?;
            if value.expose().contains(&0) {
                return Err(GivenError::ZeroByte(name.clone()));
            }
            variables.push((name.clone(), value));
        }
        let mut memory = None;
        if !settings.fd.is_empty() {
            let mut secrets = BTreeMap::new();
            for name in &settings.fd {
                secrets.insert(name.as_str(), Fields(held(name)?.value()));
            }
            memory = Some(json(&secrets));
        }
        Ok(Self { variables, memory })
    }
}

fn part_of(part: &Part, loan: &Arc<Loan>) -> Result<SecretBytes, GivenError> {
    let value = loan.value();
    let Some(field) = &part.field else {
        return Ok(json(&Fields(value)));
    };
    value.fields.get(field).cloned().ok_or_else(|| GivenError::NoField {
        secret: part.secret.clone(),
        field: field.clone(),
        known: known(value),
    })
}

fn known(value: &SecretValue) -> String {
    value.fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn json(value: &impl serde::Serialize) -> SecretBytes {
    let mut text = Vec::new();
    // Writing text to memory cannot fail; what it grows out of on the way is wiped by the allocator.
    let _ = serde_json::to_writer(&mut text, value);
    text.into()
}
