//! A configuration file's text, and which line and column a byte of it is in.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use crate::fault::{Faults, Place, Sink};

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    file: Arc<Path>,
    text: String,
    /// Where each line after the first begins: with thousands of secrets, nobody counts lines for each.
    lines: Vec<usize>,
}

/// No configuration is longer than this; what is longer was named by mistake.
const MAX_BYTES: usize = 16 << 20;

impl Source {
    /// A text that is said to come from `file`.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self::of(file.into().into(), text.into())
    }

    fn of(file: Arc<Path>, text: String) -> Self {
        let lines = text.match_indices('\n').map(|(at, _)| at.saturating_add(1)).collect();
        Self { file, text, lines }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    pub fn read(file: &Path) -> Result<Self, Faults> {
        let at = || Place { file: file.into(), line: 1, column: 1 };
        let bytes = std::fs::read(file).map_err(|error| {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound => "name the file with `--config PATH`",
                std::io::ErrorKind::PermissionDenied => "make it readable for the user that this runs as",
                _ => "",
            };
            Faults::one(at(), format!("cannot be read: {error}"), help)
        })?;
        if bytes.len() > MAX_BYTES {
            return Err(Faults::one(at(), "is longer than 16 MiB", "this is hardly a configuration file"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Faults::one(at(), "is not UTF-8 text", "save it as UTF-8"))?;
        Ok(Self::of(file.into(), text))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file's name.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The folder that relative paths in this file start from.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Where a span of bytes begins.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let at = if self.text.is_char_boundary(span.start) { span.start } else { self.text.len() };
        let ended = self.lines.partition_point(|line| *line <= at);
        let begins = ended.checked_sub(1).and_then(|last| self.lines.get(last)).copied().unwrap_or_default();
        let before = self.text.get(begins..at).unwrap_or_default();
        let column = before.chars().count().saturating_add(1);
        Place { file: self.file.clone(), line: ended.saturating_add(1), column }
    }
}

/// The text as TOML; what is no TOML is told and not read further, so that no fault is made up.
pub fn table<'s>(source: &'s Source, sink: &Sink) -> Option<toml::Spanned<DeTable<'s>>> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in &errors {
        let place = source.place(&error.span().unwrap_or(0..0));
        sink.put(
            place,
            format!("is not TOML: {}", error.message()),
            "see https://toml.io for how it is written",
        );
    }
    errors.is_empty().then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new("a.toml", "x = 1\nß = 2\n");
        let place = |at: usize| {
            let place = source.place(&(at..at));
            (place.line, place.column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(4), (1, 5));
        assert_eq!(place(6), (2, 1));
        assert_eq!(place(9), (2, 3));
        assert_eq!(place(999), (3, 1));
        assert_eq!(source.place(&(6..7)).to_string(), "a.toml:2:1");
    }
}
