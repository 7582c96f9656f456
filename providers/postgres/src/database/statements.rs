//! Statements of the configuration, with named parameters that are quoted here and never spliced.
//!
//! A parameter is written `{{name}}` where the quoted value is to stand, without quotation marks around it. What stands
//! within quotation marks or a comment is refused: a value quoted within quotes is no longer one value.

use std::fmt;

use thiserror::Error;

/// How a database quotes.
pub trait Dialect {
    /// A name as one identifier.
    fn identifier(&self, name: &str) -> String;

    /// A text as one literal.
    fn literal(&self, text: &str) -> String;

    /// What a text, which is not empty, begins with.
    ///
    /// # Errors
    /// When it begins with what is never closed.
    fn token(&self, text: &str) -> Result<Token, Unclosed>;
}

/// The first thing in a text, with its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A quoted run or a comment: nothing in it is code.
    Opaque(usize),
    /// A word, a sign or white space.
    Code(usize),
}

/// A quotation mark or a comment that is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed;

/// What a statement can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The user.
    Name,
    /// What the database keeps of the password.
    PasswordVerifier,
    /// When the database stops letting the user in.
    Expiration,
    /// The lease's id.
    Lease,
    /// The holder's SPIFFE ID.
    Holder,
    /// The role's name in the configuration.
    Role,
}

/// As what a value is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A name.
    Identifier,
    /// A text.
    Literal,
}

/// The values of one call. What a statement may not name can be left empty.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    /// The user.
    pub name: &'a str,
    /// What the database keeps of the password.
    pub password_verifier: &'a str,
    /// When the database stops letting the user in.
    pub expiration: &'a str,
    /// The lease's id.
    pub lease: &'a str,
    /// The holder's SPIFFE ID.
    pub holder: &'a str,
    /// The role's name in the configuration.
    pub role: &'a str,
}

/// Statements that were understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Parameter, Form),
}

/// Why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidStatement {
    /// There is nothing in it.
    #[error("a statement is empty")]
    Empty,
    /// No database takes this character.
    #[error("a statement has a NUL character")]
    Nul,
    /// It would swallow what follows.
    #[error("a quotation mark or a comment is not closed in `{0}`")]
    Unclosed(String),
    /// Quoted within quotes, a value is no longer one value.
    #[error("`{0}` stands within quotation marks or a comment: leave the marks out, the broker puts them")]
    InQuotes(String),
    /// Nothing is known by that name.
    #[error("`{0}` is not a parameter: there are {1}")]
    Unknown(String, String),
    /// Without it, the statements cannot do what they are for.
    #[error("no statement has `{{{{{0}}}}}`")]
    Missing(Parameter),
}

/// What separates statements: a comment at the end of one ends with the line.
const SEPARATOR: &str = "\n;\n";

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Name, Self::PasswordVerifier, Self::Expiration, Self::Lease, Self::Holder, Self::Role];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::PasswordVerifier => "password_verifier",
            Self::Expiration => "expiration",
            Self::Lease => "lease",
            Self::Holder => "holder",
            Self::Role => "role",
        }
    }

    /// As what it is quoted where nothing is said.
    const fn form(self) -> Form {
        match self {
            Self::Name => Form::Identifier,
            _ => Form::Literal,
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Statements {
    /// Statements in which these parameters may stand.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(
        dialect: &dyn Dialect,
        statements: &[impl AsRef<str>],
        known: &[Parameter],
    ) -> Result<Self, Vec<InvalidStatement>> {
        let (mut parts, mut faults) = (Vec::new(), Vec::new());
        for statement in statements {
            let statement = statement.as_ref().trim().trim_end_matches(';');
            if statement.trim().is_empty() {
                faults.push(InvalidStatement::Empty);
                continue;
            }
            if statement.contains('\0') {
                faults.push(InvalidStatement::Nul);
                continue;
            }
            if !parts.is_empty() {
                parts.push(Part::Text(SEPARATOR.to_owned()));
            }
            read(dialect, statement, known, &mut parts, &mut faults);
        }
        if faults.is_empty() { Ok(Self(parts)) } else { Err(faults) }
    }

    /// Whether a parameter stands in them.
    pub fn uses(&self, parameter: Parameter) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(used, _) if *used == parameter))
    }

    /// The faults of statements that lack one of these.
    pub fn lacking(&self, needed: &[Parameter]) -> Vec<InvalidStatement> {
        needed.iter().filter(|one| !self.uses(**one)).map(|one| InvalidStatement::Missing(*one)).collect()
    }

    /// The statements with these values, ready to be sent as one text.
    pub fn fill(&self, dialect: &dyn Dialect, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(code) => text.push_str(code),
                Part::Value(parameter, form) => {
                    let value = values.of(*parameter);
                    // Spaces, so that no quotation mark or prefix of the statement's own runs into ours.
                    text.push(' ');
                    text.push_str(&match form {
                        Form::Identifier => dialect.identifier(value),
                        Form::Literal => dialect.literal(value),
                    });
                    text.push(' ');
                }
            }
        }
        text
    }
}

impl<'a> Values<'a> {
    const fn of(&self, parameter: Parameter) -> &'a str {
        match parameter {
            Parameter::Name => self.name,
            Parameter::PasswordVerifier => self.password_verifier,
            Parameter::Expiration => self.expiration,
            Parameter::Lease => self.lease,
            Parameter::Holder => self.holder,
            Parameter::Role => self.role,
        }
    }
}

/// Takes one statement apart.
fn read(
    dialect: &dyn Dialect,
    statement: &str,
    known: &[Parameter],
    parts: &mut Vec<Part>,
    faults: &mut Vec<InvalidStatement>,
) {
    let mut code = String::new();
    let mut rest = statement;
    while !rest.is_empty() {
        if let Some((word, after)) = placeholder(rest) {
            match value(word, known) {
                Some(part) => {
                    parts.push(Part::Text(std::mem::take(&mut code)));
                    parts.push(part);
                }
                None => faults.push(unknown(word, known)),
            }
            rest = after;
            continue;
        }
        let length = match dialect.token(rest) {
            Ok(Token::Code(length)) => length,
            Ok(Token::Opaque(length)) => {
                let run = rest.get(..length).unwrap_or(rest);
                faults.extend(within(run).map(|word| InvalidStatement::InQuotes(format!("{{{{{word}}}}}"))));
                length
            }
            Err(Unclosed) => {
                faults.push(InvalidStatement::Unclosed(rest.chars().take(40).collect()));
                return;
            }
        };
        // At least one character, so that this ends.
        let length = length.max(rest.chars().next().map_or(1, char::len_utf8));
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        code.push_str(taken);
        rest = after;
    }
    parts.push(Part::Text(code));
}

/// What stands between `{{` and `}}` at the beginning of a text, and what follows.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (word, after) = text.strip_prefix("{{")?.split_once("}}")?;
    Some((word.trim(), after))
}

/// The names of parameters that stand in a quoted run. Other braces are no business of ours: arrays have them.
fn within(run: &str) -> impl Iterator<Item = &str> {
    run.match_indices("{{").filter_map(move |(at, _)| {
        let (word, _) = placeholder(run.get(at..)?)?;
        let name = word.split(':').next().unwrap_or(word);
        Parameter::ALL.iter().any(|one| one.as_str() == name).then_some(word)
    })
}

fn value(word: &str, known: &[Parameter]) -> Option<Part> {
    let (name, form) = match word.split_once(':') {
        None => (word, None),
        Some((name, "literal")) => (name, Some(Form::Literal)),
        Some((name, "identifier")) => (name, Some(Form::Identifier)),
        Some(_) => return None,
    };
    let parameter = *known.iter().find(|one| one.as_str() == name)?;
    Some(Part::Value(parameter, form.unwrap_or(parameter.form())))
}

fn unknown(word: &str, known: &[Parameter]) -> InvalidStatement {
    let names: Vec<_> = known.iter().map(|one| format!("{{{{{one}}}}}")).collect();
    InvalidStatement::Unknown(format!("{{{{{word}}}}}"), names.join(", "))
}
