//! Templates: minijinja with strict undefined, no includes, bounded work, and errors that never have a value in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use leasehold_core::SecretBytes;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Enumerator, Object, ObjectExt, ValueKind},
};
use thiserror::Error;

use super::{MAX_BYTES, filters};
use crate::{
    name::Name,
    snapshot::{Loan, Snapshot},
};

/// The templates, compiled.
pub(super) struct Templates {
    environment: Environment<'static>,
    /// How people know each, and its text.
    sources: BTreeMap<Name, (String, String)>,
}

/// Why a template is faulty or fails. Its text never has a value in it, whatever the template does.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{template}: line {line}: {message}")]
pub struct TemplateError {
    /// The template's file, or its place in the configuration.
    pub template: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// So many instructions of a template are executed: more than any file needs, and too few to nest a value so deeply that the
/// stack ends when it is dropped. The stack has 8 MiB for more than 30,000 levels, and a level takes three instructions.
const FUEL: u64 = 50_000;

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(write_value);
        environment.set_fuel(Some(FUEL));
        // It prints everything that there is.
        environment.remove_global("debug");
        let mut syntax = SyntaxConfig::builder();
        syntax.keep_trailing_newline(true);
        if let Ok(syntax) = syntax.build() {
            environment.set_syntax(syntax);
        }
        filters::add(&mut environment);
        Self { environment, sources: BTreeMap::new() }
    }
}

impl Templates {
    /// Compiles a template, known to people as `label`.
    pub(super) fn add(&mut self, file: Name, label: String, text: String) -> Result<(), TemplateError> {
        let added = self.environment.add_template_owned(file.to_string(), text.clone());
        added.map_err(|error| TemplateError {
            template: label.clone(),
            line: error.line().unwrap_or(1),
            // Nothing has been rendered yet: it is about the template's own text.
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        })?;
        self.sources.insert(file, (label, text));
        Ok(())
    }

    /// What each template names as `secrets.NAME`.
    pub(super) fn mentioned(&self) -> Vec<(Name, String)> {
        let mut all = Vec::new();
        for file in self.sources.keys() {
            let Ok(template) = self.environment.get_template(file.as_str()) else { continue };
            let mut names: Vec<_> = template
                .undeclared_variables(true)
                .iter()
                .filter_map(|name| name.strip_prefix("secrets.")?.split('.').next().map(str::to_owned))
                .collect();
            names.sort();
            names.dedup();
            all.extend(names.into_iter().map(|name| (file.clone(), name)));
        }
        all
    }

    /// What the template makes of a snapshot, and the secrets that it looked at.
    pub(super) fn render(
        &self,
        file: &Name,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(SecretBytes, BTreeSet<Name>), TemplateError> {
        let (label, text) = self.sources.get(file).map_or(("", ""), |(label, text)| (label, text));
        let looked = Arc::new(Looked::default());
        let secrets = Secrets { snapshot: Arc::clone(snapshot), looked: Arc::clone(&looked) };
        let leases = Leases(secrets.clone());
        let context = BTreeMap::from([
            ("secrets", Value::from_object(secrets)),
            ("leases", Value::from_object(leases)),
        ]);
        let mut out = Limited(Vec::with_capacity(4096));
        let rendered = self
            .environment
            .get_template(file.as_str())
            .and_then(|template| template.render_captured_to(Value::from(context), &mut out).map(drop));
        let content = SecretBytes::new(out.0);
        match rendered {
            Ok(()) => Ok((content, looked.used())),
            Err(error) => Err(TemplateError {
                template: label.to_owned(),
                line: error.line().unwrap_or(1),
                message: said(&error, looked.missed(text)),
            }),
        }
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.keys()).finish()
    }
}

/// An error of rendering in our words: minijinja's own may quote what a filter was given.
fn said(error: &Error, missed: Option<String>) -> String {
    if let Some(refusal) = filters::refusal(error) {
        return refusal.to_string();
    }
    let kind = error.kind();
    match kind {
        ErrorKind::UndefinedError => {
            missed.unwrap_or_else(|| "something is used that is not defined".to_owned())
        }
        ErrorKind::WriteFailure => format!("it makes more than {MAX_BYTES} bytes"),
        ErrorKind::OutOfFuel => "it does more than any file needs: does it end?".to_owned(),
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::MissingArgument
        | ErrorKind::TooManyArguments
        | ErrorKind::SyntaxError => match error.detail() {
            // What these name stands in the template.
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
        _ => kind.to_string(),
    }
}

/// Texts, numbers and truth are written as they are; nothing else has one obvious form.
fn write_value(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refused = |message| Err(filters::Refusal::new(message).into());
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            out.write_str(text).map_err(|_| Error::new(ErrorKind::WriteFailure, "too long"))
        }
        // `true`, as files have it, and not `True`, as Python has it.
        ValueKind::Bool => out
            .write_str(if value.is_true() { "true" } else { "false" })
            .map_err(|_| Error::new(ErrorKind::WriteFailure, "too long")),
        ValueKind::Number => {
            out.write_str(&value.to_string()).map_err(|_| Error::new(ErrorKind::WriteFailure, "too long"))
        }
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bytes => {
            refused("the field is binary: use `b64encode` or `hex`, or write it to a file of its own")
        }
        ValueKind::Map => refused("this is a whole secret: name a field, or use `json`"),
        _ => refused("this has no one form as text: use `json`, or `join`"),
    }
}

/// Memory up to what a file may have.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a template has looked at.
#[derive(Debug, Default)]
struct Looked(Mutex<Seen>);

/// The secrets that were there, and what was not: the key, and what is said of it without the key.
#[derive(Debug, Default)]
struct Seen {
    used: BTreeSet<Name>,
    missed: Option<(String, String)>,
}

impl Looked {
    fn at(&self, name: &Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).used.insert(name.clone());
    }

    /// `key` was not there; `message` does not say it.
    fn missed_key(&self, key: &str, message: impl FnOnce() -> String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).missed = Some((key.to_owned(), message()));
    }

    fn used(&self) -> BTreeSet<Name> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).used.clone()
    }

    /// What was not there last. The key itself is told only where the template says it in so many words: one that was made of
    /// a value is a value.
    fn missed(&self, template: &str) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, message) = state.missed.as_ref()?;
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let said = template.match_indices(key.as_str()).any(|(at, _)| {
            let before = template.get(..at).and_then(|text| text.chars().next_back());
            let after = template.get(at.saturating_add(key.len())..).and_then(|text| text.chars().next());
            // In `secrets.db` a dot is before the name.
            !before.is_some_and(|c| word(c) && c != '.') && !after.is_some_and(|c| word(c) && c != '.')
        });
        Some(if said { format!("there is no `{key}`: {message}") } else { message.clone() })
    }
}

/// `secrets`: the fields of each secret by its name.
#[derive(Clone)]
struct Secrets {
    snapshot: Arc<Snapshot>,
    looked: Arc<Looked>,
}

/// `leases`: what is known of each secret's lease, by the secret's name.
struct Leases(Secrets);

/// `secrets.NAME`.
struct Fields {
    loan: Arc<Loan>,
    looked: Arc<Looked>,
}

impl Secrets {
    fn find(&self, key: &Value) -> Option<Arc<Loan>> {
        let key = key.as_str()?;
        match self.snapshot.secrets.get_key_value(key) {
            Some((name, loan)) => {
                self.looked.at(name);
                Some(Arc::clone(loan))
            }
            None => {
                self.looked.missed_key(key, || format!("the secrets are {}", listed(self.names())));
                None
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.snapshot.secrets.keys().map(Name::as_str)
    }
}

impl Object for Secrets {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let loan = self.find(key)?;
        Some(Value::from_object(Fields { loan, looked: Arc::clone(&self.looked) }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| Box::new(this.names().map(Value::from)))
    }
}

impl Object for Leases {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let loan = self.0.find(key)?;
        let facts = [
            ("path", loan.path.to_string()),
            ("id", loan.lease.to_string()),
            ("version", loan.version.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("expires_at", loan.expires_at.to_string()),
        ];
        Some(Value::from(facts.into_iter().collect::<BTreeMap<_, _>>()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| Box::new(this.0.names().map(Value::from)))
    }
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let fields = &self.loan.value().fields;
        match fields.iter().find(|(name, _)| name.as_str() == key) {
            Some((_, bytes)) => Some(filters::of_bytes(bytes.expose())),
            None => {
                let known = || listed(fields.keys().map(|name| name.as_str()));
                self.looked.missed_key(key, || format!("the fields of the secret are {}", known()));
                None
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| {
            Box::new(this.loan.value().fields.keys().map(|name| Value::from(name.as_str())))
        })
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// minijinja wants `Debug`; it says what it is, and nothing that is in it.
macro_rules! debug_as {
    ($($type:ty: $name:literal),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }
    )+};
}
debug_as!(Secrets: "secrets", Leases: "leases", Fields: "fields [redacted]");
