//! What may be handed out: the secrets of the configuration, as long as they are held.

use std::sync::Arc;

use leasehold_core::{SecretPath, Timestamp};

use crate::{
    name::Name,
    snapshot::{Loan, Snapshot, Standing},
};

/// What the configuration has, by the name it gives it.
#[derive(Clone, Debug)]
pub(crate) struct Offer(Vec<(Name, SecretPath)>);

/// Why something is not handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// The configuration has nothing of that name or path.
    Unknown,
    /// It has the path more than once: these.
    Ambiguous(Vec<Name>),
    /// It could not be had yet.
    NotHeld { name: Name, trouble: Option<Box<str>> },
    /// Its lease has ended, and with it the right to use it.
    Ended { name: Name, at: Timestamp },
}

impl Offer {
    pub(crate) fn new(secrets: impl IntoIterator<Item = (Name, SecretPath)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// Everything, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &SecretPath)> {
        self.0.iter().map(|(name, path)| (name, path))
    }

    /// What is meant by a name, or by a path.
    pub(crate) fn find(&self, text: &str) -> Result<&Name, Withheld> {
        if let Some((name, _)) = self.0.iter().find(|(name, _)| name.as_str() == text) {
            return Ok(name);
        }
        let mut of_path = self.0.iter().filter(|(_, path)| path.as_str() == text).map(|(name, _)| name);
        match (of_path.next(), of_path.next()) {
            (None, _) => Err(Withheld::Unknown),
            (Some(only), None) => Ok(only),
            (Some(one), Some(two)) => {
                Err(Withheld::Ambiguous([one, two].into_iter().chain(of_path).cloned().collect()))
            }
        }
    }

    /// What is held of that name at `now`.
    pub(crate) fn take<'s>(
        &self,
        name: &Name,
        snapshot: &'s Snapshot,
        now: Timestamp,
    ) -> Result<&'s Arc<Loan>, Withheld> {
        let Some(loan) = snapshot.secrets.get(name) else {
            let trouble = snapshot.troubles.get(name).map(|trouble| trouble.message.clone());
            return Err(Withheld::NotHeld { name: name.clone(), trouble });
        };
        if is_over(loan, now) {
            return Err(Withheld::Ended { name: name.clone(), at: loan.expires_at });
        }
        Ok(loan)
    }
}

/// Whether a loan's lease has ended, also where nobody has said so yet.
pub(crate) fn is_over(loan: &Loan, now: Timestamp) -> bool {
    loan.standing == Standing::Expired || loan.ends <= now
}

impl Withheld {
    /// For people.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Unknown => {
                "the sidecar's configuration has no secret of this name or path: add a [[secret]]".to_owned()
            }
            Self::Ambiguous(names) => {
                let names: Vec<_> = names.iter().map(Name::as_str).collect();
                format!("the configuration has this path more than once: ask by name ({})", names.join(", "))
            }
            Self::NotHeld { name, trouble: None } => format!("`{name}` has not been leased yet"),
            Self::NotHeld { name, trouble: Some(trouble) } => {
                format!("`{name}` has not been leased yet: {trouble}")
            }
            Self::Ended { name, at } => {
                format!("the lease of `{name}` ended at {at}, and no other could be had yet")
            }
        }
    }
}
