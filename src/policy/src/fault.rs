//! What is wrong with a policy set, said so that a person finds the place.

use std::fmt;

use cedar_policy::{ParseErrors, ValidationError, ValidationWarning};
use miette::Diagnostic;

/// One fault, with the place where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named to the loader; absent when the fault is in no file.
    pub file: Option<Box<str>>,
    /// The line, counted from 1; 0 when the fault is the file's as a whole.
    pub line: usize,
    /// The column in characters, counted from 1; 0 when the fault is the file's as a whole.
    pub column: usize,
    /// What is wrong, and the way out where there is one.
    pub message: String,
}

/// Every fault of a refused policy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(Vec<Fault>);

impl PolicyErrors {
    /// The faults, in the order of the files.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    /// These faults; there is at least one.
    pub(crate) fn of(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Nothing when there are no faults.
    pub(crate) fn none_or(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }
}

impl Fault {
    /// A fault of a file, or of what is in no file.
    pub(crate) fn of(file: Option<&str>, message: impl Into<String>) -> Self {
        Self { file: file.map(Into::into), line: 0, column: 0, message: message.into() }
    }

    /// A fault at a byte offset of a file's text.
    pub(crate) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        Self { file: Some(file.into()), line, column, message: message.into() }
    }

    /// Every error of parsing a file.
    pub(crate) fn parsing(file: &str, text: &str, errors: &ParseErrors) -> Vec<Self> {
        errors.iter().map(|error| Self::from_diagnostic(file, text, 0, error)).collect()
    }

    /// An error of validating a policy whose text begins at `start`.
    pub(crate) fn validating(file: &str, text: &str, start: usize, error: &ValidationError) -> Self {
        Self::from_diagnostic(file, text, start, error)
    }

    /// A warning about such a policy.
    pub(crate) fn warning(file: &str, text: &str, start: usize, warning: &ValidationWarning) -> Self {
        Self::from_diagnostic(file, text, start, warning)
    }

    fn from_diagnostic(file: &str, text: &str, start: usize, diagnostic: &dyn Diagnostic) -> Self {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let offset = label.as_ref().map_or(start, miette::LabeledSpan::offset);
        let mut message = diagnostic.to_string();
        if let Some(note) = label.as_ref().and_then(|label| label.label()) {
            message = format!("{message}: {note}");
        }
        if let Some(help) = diagnostic.help() {
            message = format!("{message} ({help})");
        }
        Self::at(file, text, offset, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (None, _) => f.write_str(&self.message),
            (Some(file), 0) => write!(f, "{file}: {}", self.message),
            (Some(file), line) => write!(f, "{file}:{line}:{}: {}", self.column, self.message),
        }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let text = "one\ntwö x";
        assert_eq!(Fault::at("a.cedar", text, 0, "m").to_string(), "a.cedar:1:1: m");
        assert_eq!(
            Fault::at("a.cedar", text, text.len().saturating_sub(1), "m").to_string(),
            "a.cedar:2:5: m"
        );
        assert_eq!(Fault::of(Some("a.cedar"), "m").to_string(), "a.cedar: m");
        assert_eq!(Fault::of(None, "m").to_string(), "m");
    }
}
