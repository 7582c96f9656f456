//! What is in each file: fields, whole secrets and templates, made of a snapshot. Reads the templates' files once, and
//! nothing else; what it makes is wiped.

mod dotenv;
mod filters;
mod form;
mod pem;
mod template;

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use leasehold_core::{SecretBytes, secret::FieldName};
use thiserror::Error;

pub(crate) use self::form::json;
use self::template::Templates;
pub use self::{dotenv::DotenvError, template::TemplateError};
use crate::{
    config::{File, Form, Template, file::Content, files::Mode},
    name::Name,
    snapshot::{Loan, Snapshot},
};

/// Makes the contents of all files.
#[derive(Debug)]
pub struct Renderer {
    files: Vec<File>,
    templates: Templates,
}

/// One file's content.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The file's name.
    pub name: Name,
    /// Its permissions, when they are its own.
    pub mode: Option<Mode>,
    /// What is in it.
    pub content: SecretBytes,
    /// The secrets that it was made of.
    pub uses: BTreeSet<Name>,
}

/// No file is longer.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a file cannot be made. Never with a value.
#[derive(Debug, Error)]
pub enum RenderError {
    /// A template's file cannot be read.
    #[error("the template of `{file}`, {}, cannot be read: {error}", path.display())]
    Unreadable {
        /// The file that it is for.
        file: Name,
        /// The template's.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The template is faulty.
    #[error("the template of `{file}`: {error}")]
    Template {
        /// The file that it is for.
        file: Name,
        /// Why.
        error: TemplateError,
    },
    /// The secret has no such field.
    #[error("`{file}` cannot be written: the secret `{secret}` has no field `{field}`, it has {known}")]
    NoField {
        /// The file.
        file: Name,
        /// The secret's name.
        secret: Name,
        /// The field.
        field: FieldName,
        /// The fields that there are.
        known: String,
    },
    /// The secret is not held.
    #[error("`{file}` cannot be written: the secret `{secret}` is not held")]
    NotHeld {
        /// The file.
        file: Name,
        /// The secret's name.
        secret: Name,
    },
    /// Several fields cannot be one raw content.
    #[error(
        "`{file}` cannot be written: the secret `{secret}` has more than one field ({known}): say which with `field`, or write `form = \"json\"` or `\"dotenv\"`"
    )]
    SeveralFields {
        /// The file.
        file: Name,
        /// The secret's name.
        secret: Name,
        /// The fields that there are.
        known: String,
    },
    /// JSON is text.
    #[error(
        "`{file}` cannot be written as JSON: the field `{field}` is not text: write it to a file of its own, or use a template with `b64encode`"
    )]
    NotText {
        /// The file.
        file: Name,
        /// The field.
        field: FieldName,
    },
    /// The secret cannot be written as dotenv.
    #[error("`{file}` cannot be written as dotenv: {error}")]
    Dotenv {
        /// The file.
        file: Name,
        /// Why.
        error: DotenvError,
    },
    /// It is longer than a file may be.
    #[error("`{file}` would be longer than {MAX_BYTES} bytes")]
    TooLong {
        /// The file.
        file: Name,
    },
}

impl Renderer {
    /// Reads and compiles the templates.
    ///
    /// # Errors
    /// Every template that cannot be read or is faulty.
    pub fn new(files: &[File]) -> Result<Self, Vec<RenderError>> {
        let mut templates = Templates::default();
        let mut errors = Vec::new();
        for file in files {
            let Content::Template(template) = &file.content else { continue };
            let (label, text) = match template {
                Template::Text(text, place) => (place.to_string(), Ok(text.clone())),
                Template::File(path) => (path.display().to_string(), fs::read_to_string(path)),
            };
            let added = match (text, template) {
                (Ok(text), _) => templates
                    .add(file.name.clone(), label, text)
                    .map_err(|error| RenderError::Template { file: file.name.clone(), error }),
                (Err(error), Template::File(path)) => {
                    Err(RenderError::Unreadable { file: file.name.clone(), path: path.clone(), error })
                }
                (Err(_), Template::Text(..)) => Ok(()),
            };
            errors.extend(added.err());
        }
        if errors.is_empty() { Ok(Self { files: files.to_owned(), templates }) } else { Err(errors) }
    }

    /// Secrets that templates name as `secrets.NAME` and that are not among `known`: what can be found out before any is
    /// held.
    pub fn strangers(&self, known: &[Name]) -> Vec<(Name, String)> {
        let mut found = self.templates.mentioned();
        found.retain(|(_, secret)| !known.iter().any(|name| name.as_str() == secret));
        found
    }

    /// The contents of all files but those that use one of the secrets `without`.
    ///
    /// # Errors
    /// The first file that cannot be made: they are published together or not at all.
    pub fn render(
        &self,
        snapshot: &Arc<Snapshot>,
        without: &BTreeSet<Name>,
    ) -> Result<Vec<Rendered>, RenderError> {
        let mut all = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let (content, uses) = self.content(file, snapshot)?;
            if content.len() > MAX_BYTES {
                return Err(RenderError::TooLong { file: file.name.clone() });
            }
            if uses.is_disjoint(without) {
                all.push(Rendered { name: file.name.clone(), mode: file.mode, content, uses });
            }
        }
        Ok(all)
    }

    fn content(
        &self,
        file: &File,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(SecretBytes, BTreeSet<Name>), RenderError> {
        let held = |secret: &Name| {
            let not_held = || RenderError::NotHeld { file: file.name.clone(), secret: secret.clone() };
            snapshot.secrets.get(secret).ok_or_else(not_held)
        };
        let alone = |secret: &Name| BTreeSet::from([secret.clone()]);
        match &file.content {
            Content::Field { secret, field } => {
                let loan = held(secret)?;
                let bytes = loan.value().fields.get(field).ok_or_else(|| RenderError::NoField {
                    file: file.name.clone(),
                    secret: secret.clone(),
                    field: field.clone(),
                    known: names(loan),
                })?;
                Ok((bytes.clone(), alone(secret)))
            }
            Content::Whole { secret, form, prefix } => {
                let loan = held(secret)?;
                let content = match form {
                    Form::Raw => form::raw(loan.value()).ok_or_else(|| RenderError::SeveralFields {
                        file: file.name.clone(),
                        secret: secret.clone(),
                        known: names(loan),
                    })?,
                    Form::Json => form::json(loan.value())
                        .map_err(|field| RenderError::NotText { file: file.name.clone(), field })?,
                    Form::Dotenv => dotenv::write(loan.value(), prefix)
                        .map_err(|error| RenderError::Dotenv { file: file.name.clone(), error })?,
                };
                Ok((content, alone(secret)))
            }
            Content::Template(_) => self
                .templates
                .render(&file.name, snapshot)
                .map_err(|error| RenderError::Template { file: file.name.clone(), error }),
        }
    }
}

/// The fields that there are, for people.
fn names(loan: &Loan) -> String {
    loan.value().fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
