//! Collects what is wrong with a request, so that its author learns all of it at once.

use std::{fmt::Display, str::FromStr, time::Duration};

use tonic_types::FieldViolation;

use crate::grpc::status::EdgeError;

/// The most violations that are told; they travel in a trailer, whose size clients limit.
const MOST: usize = 20;

/// What is wrong so far.
#[derive(Default)]
pub(super) struct Violations(Vec<FieldViolation>);

impl Violations {
    pub(super) fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        if self.0.len() < MOST {
            self.0.push(FieldViolation::new(field, why));
        }
    }

    /// A value that must be there.
    pub(super) fn required<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            self.add(field, "is required");
            return None;
        }
        self.parse(field, text)
    }

    /// A value that is absent when the text is empty. The outer `None` says that there is a violation.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.parse(field, text).map(Some) }
    }

    /// A list of values, none of them twice, at most `most`.
    pub(super) fn list<T: FromStr<Err: Display> + PartialEq>(
        &mut self,
        field: &str,
        texts: &[String],
        most: usize,
    ) -> Option<Vec<T>> {
        if texts.len() > most {
            self.add(field, format!("has {} entries: at most {most} are allowed", texts.len()));
            return None;
        }
        let before = self.0.len();
        let mut values = Vec::with_capacity(texts.len());
        for (text, index) in texts.iter().zip(0_usize..) {
            match text.parse::<T>() {
                Ok(value) if values.contains(&value) => {
                    self.add(format!("{field}[{index}]"), "is there already")
                }
                Ok(value) => values.push(value),
                Err(why) => self.add(format!("{field}[{index}]"), why.to_string()),
            }
        }
        (self.0.len() == before).then_some(values)
    }

    /// A lease's wanted life.
    pub(super) fn ttl(
        &mut self,
        field: &str,
        sent: Option<prost_types::Duration>,
    ) -> Option<Option<Duration>> {
        let Some(sent) = sent else { return Some(None) };
        match Duration::try_from(sent) {
            Ok(ttl) if ttl >= Duration::from_secs(1) => Some(Some(ttl)),
            _ => {
                self.add(field, "is at least 1s");
                None
            }
        }
    }

    /// How many entries a page may have.
    pub(super) fn page_size(&mut self, sent: i32) -> Option<usize> {
        match usize::try_from(sent) {
            Ok(0) => Some(100),
            Ok(size) => Some(size.min(1000)),
            Err(_) => {
                self.add("page_size", "is 0 for the default, or 1 to 1000");
                None
            }
        }
    }

    /// A sentence for the record; absent when empty.
    pub(super) fn sentence(&mut self, field: &str, text: String) -> Option<Option<String>> {
        if text.len() > 256 || text.chars().any(char::is_control) {
            self.add(field, "is at most 256 bytes without control characters");
            return None;
        }
        Some(Some(text).filter(|text| !text.is_empty()))
    }

    /// What was made of the request, if nothing was wrong with it.
    pub(super) fn finish<T>(self, made: Option<T>) -> Result<T, EdgeError> {
        match made {
            Some(made) if self.0.is_empty() => Ok(made),
            _ => Err(EdgeError::Invalid(self.0)),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.add(field, why.to_string());
                None
            }
        }
    }
}
