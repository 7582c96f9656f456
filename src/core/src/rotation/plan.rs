//! How a secret is rotated, as its catalog entry says.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Generator, Schedule};
use crate::{provider::ProviderName, secret::FieldName};

/// How a secret, or every secret under a mount, is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When; absent for on demand only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Who has to be told of a new value, and in which way.
    pub strategy: Strategy,
    /// How a new value is made. Not asked by [`Strategy::Native`].
    pub generator: Generator,
    /// The field that is made anew; the others are taken over from the version before.
    pub field: FieldName,
    /// Of a key pair: the field of the public key.
    pub public_field: FieldName,
    /// The field that names the user, where there is one.
    pub user_field: FieldName,
    /// How long holders of the old version have to let go.
    pub drain: Duration,
    /// What becomes of the old version in the back end after that.
    pub retire: Retire,
    /// Present when the revocation of a lease on the current version rotates the secret: not sooner after the last
    /// rotation than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_revoke: Option<Duration>,
    /// How old a version may be before health says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// Who has to be told of a new value, and in which way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Nobody: the back end's copy is the only one.
    Generate,
    /// One user, whose value changes in place.
    Single {
        /// Who accepts the value.
        target: TargetName,
    },
    /// Two users: the one that the current version does not name is changed, never both at once.
    Alternating {
        /// Who accepts their values.
        target: TargetName,
        /// The users.
        users: [Box<str>; 2],
    },
    /// The back end makes the new value and tells whoever accepts it.
    Native,
}

/// Who accepts a secret's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetName {
    /// A configured provider that is a [`Target`](crate::ports::Target).
    Provider(ProviderName),
    /// An operator's program.
    Program(Program),
}

/// An operator's program that knows a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its file, and what is given to it as arguments.
    pub command: Vec<Box<str>>,
    /// How long one step may take.
    pub timeout: Duration,
    /// As which user of the system it runs; the broker's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// What becomes of an old version in the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retire {
    /// It stays as it is.
    Keep,
    /// It cannot be read until it is enabled.
    Disable,
    /// Its value is gone for good.
    Destroy,
}

impl Plan {
    /// The fields and times that are taken where the configuration says nothing.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            schedule: None,
            generator: Generator::default(),
            field: match strategy {
                Strategy::Generate | Strategy::Native => FieldName::value(),
                Strategy::Single { .. } | Strategy::Alternating { .. } => FieldName::password(),
            },
            strategy,
            public_field: FieldName::public_key(),
            user_field: FieldName::username(),
            drain: Self::DRAIN,
            retire: Retire::Disable,
            on_revoke: None,
            max_age: None,
        }
    }

    /// How long holders have unless the configuration says otherwise.
    pub const DRAIN: Duration = Duration::from_secs(3600);
}

impl Strategy {
    /// Its name in the configuration and in lists.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Single { target: TargetName::Program(_) } => "command",
            Self::Single { .. } => "single",
            Self::Alternating { .. } => "alternating",
            Self::Native => "provider-native",
        }
    }

    /// Who has to be told of a new value; nobody, or only the back end itself, when absent.
    pub const fn target(&self) -> Option<&TargetName> {
        match self {
            Self::Single { target } | Self::Alternating { target, .. } => Some(target),
            Self::Generate | Self::Native => None,
        }
    }

    /// Whether the old value works on beside the new one until it is retired.
    pub const fn keeps_the_old_alive(&self) -> bool {
        matches!(self, Self::Alternating { .. } | Self::Generate)
    }
}

impl Retire {
    /// Its name in the configuration and in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Disable => "disable",
            Self::Destroy => "destroy",
        }
    }
}
