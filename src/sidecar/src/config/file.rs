//! `[[file]]`: what is in each file.

use std::{collections::BTreeSet, path::PathBuf};

use leasehold_config::{
    Element, Found, Section,
    element::{Wrong, text},
    fault::Place,
    section::proposal,
};
use leasehold_core::secret::FieldName;

use super::{Secret, files::Mode};
use crate::name::Name;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the directory.
    pub name: Name,
    /// What is in it.
    pub content: Content,
    /// Its permissions, when they are its own.
    pub mode: Option<Mode>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One field of a secret as it is.
    Field {
        /// The secret's name.
        secret: Name,
        /// The field.
        field: FieldName,
    },
    /// A whole secret.
    Whole {
        /// The secret's name.
        secret: Name,
        /// In which form.
        form: Form,
        /// What is put before the names of variables, in dotenv.
        prefix: String,
    },
    /// What a template makes of all secrets.
    Template(Template),
}

/// The form in which a whole secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Its only field as it is; a secret with more than one cannot be written so.
    #[default]
    Raw,
    /// An object of the fields.
    Json,
    /// A line `NAME="value"` a field.
    Dotenv,
}

/// A template, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A file, read when the sidecar starts.
    File(PathBuf),
    /// The configuration itself, at this place.
    Text(String, Place),
}

pub(super) fn read_all(sections: Vec<Section<'_>>, secrets: Option<&[Secret]>) -> Option<Vec<File>> {
    let mut names = BTreeSet::new();
    let read: Vec<_> = sections.into_iter().map(|section| self::read(section, secrets, &mut names)).collect();
    read.into_iter().collect()
}

fn read(section: Section<'_>, secrets: Option<&[Secret]>, names: &mut BTreeSet<Name>) -> Option<File> {
    let name = section.required_at::<Name>("name");
    if let Some(found) = &name
        && !names.insert(found.value.clone())
    {
        let message = format!("there is more than one [[file]] of the name `{}`", found.value);
        section.fault(found.place.clone(), message, "give each its own");
    }
    let content = content(&section, secrets);
    let mode = section.optional("mode");
    section.finish();
    Some(File { name: name?.value, content: content?, mode })
}

fn content(section: &Section<'_>, secrets: Option<&[Secret]>) -> Option<Content> {
    let secret = section.take::<Name>("secret");
    let field = section.take::<FieldName>("field");
    section.otherwise("form", &Form::default());
    let form = section.take::<Form>("form");
    let prefix = section.take::<String>("prefix").and_then(|found| variable_prefix(found, section));
    let template = section.path("template");
    let template_text = section.take::<String>("template_text");
    let ways = ["secret", "template", "template_text"].map(|key| section.has(key));
    if ways != [true, false, false] {
        for key in ["field", "form", "prefix"].into_iter().filter(|key| section.has(key)) {
            section.fault(section.place_of(key), format!("`{key}` goes with `secret`"), "leave it away");
        }
    }
    match ways {
        [true, false, false] => {
            let secret = secret?;
            if let Some(secrets) = secrets
                && !secrets.iter().any(|known| known.name == secret.value)
            {
                let known: Vec<_> = secrets.iter().map(|known| known.name.as_str()).collect();
                let message = format!("there is no [[secret]] of the name `{}`", secret.value);
                section.fault(secret.place, message, proposal(secret.value.as_str(), &known));
                return None;
            }
            match (field, form) {
                (Some(found), Some(_)) => {
                    let help = "a field is written as it is: leave `form` away";
                    section.fault(found.place, "there is `field`, and there is `form`", help);
                    None
                }
                (Some(found), None) => Some(Content::Field { secret: secret.value, field: found.value }),
                (None, form) => {
                    let form = form.map_or_else(Form::default, |found| found.value);
                    if prefix.is_some() && form != Form::Dotenv {
                        let help = "write `form = \"dotenv\"`, or leave it away";
                        section.fault(
                            section.place_of("prefix"),
                            "`prefix` is for the names of variables",
                            help,
                        );
                    }
                    Some(Content::Whole { secret: secret.value, form, prefix: prefix.unwrap_or_default() })
                }
            }
        }
        [false, true, false] => Some(Content::Template(Template::File(template?))),
        [false, false, true] => {
            let found = template_text?;
            Some(Content::Template(Template::Text(found.value, found.place)))
        }
        _ => {
            let help = "write one of `secret`, `template` and `template_text`";
            section.fault(section.place(), "[[file]] does not say in one way what is in it", help);
            None
        }
    }
}

/// The beginning of a variable's name, as POSIX has it.
fn variable_prefix(found: Found<String>, section: &Section<'_>) -> Option<String> {
    let good = found.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !found.value.starts_with(|c: char| c.is_ascii_digit());
    if !good {
        let help = "letters, digits and `_`, and no digit first, such as `DB_`";
        section.fault(found.place, "`prefix` in [[file]] cannot begin a variable's name", help);
        return None;
    }
    Some(found.value)
}

impl Element for Form {
    const SHAPE: &'static str = "`\"raw\"`, `\"json\"` or `\"dotenv\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            "dotenv" => Ok(Self::Dotenv),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Raw => "raw".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Dotenv => "dotenv".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn file(toml: &str) -> Result<Content, String> {
        let whole = format!(
            "[[secret]]\nname = 'db'\npath = 'prod/db'\n[files]\ndir = '/run/x'\n[[file]]\nname = 'f'\n{toml}\n"
        );
        config(&whole)
            .map(|mut config| config.file_list.remove(0).content)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_file_has_one_content() {
        let secret = || "db".parse::<Name>().unwrap();
        assert_eq!(
            file("secret = 'db'"),
            Ok(Content::Whole { secret: secret(), form: Form::Raw, prefix: String::new() })
        );
        assert_eq!(
            file("secret = 'db'\nfield = 'password'"),
            Ok(Content::Field { secret: secret(), field: FieldName::password() })
        );
        assert_eq!(
            file("template = 't.j2'"),
            Ok(Content::Template(Template::File("/etc/leasehold/t.j2".into())))
        );
        let cases = [
            ("", "does not say in one way what is in it"),
            ("secret = 'db'\ntemplate = 't'", "does not say in one way what is in it"),
            ("secret = 'bd'", "did you mean `db`?"),
            ("secret = 'db'\nfield = 'a'\nform = 'json'", "leave `form` away"),
            ("secret = 'db'\nprefix = 'DB_'", "`prefix` is for the names of variables"),
            ("secret = 'db'\nform = 'dotenv'\nprefix = '1'", "cannot begin a variable's name"),
            ("template = 't'\nform = 'json'", "`form` goes with `secret`"),
            ("secret = 'db'\nform = 'yaml'", "must be `\"raw\"`, `\"json\"` or `\"dotenv\"`"),
        ];
        for (toml, expected) in cases {
            let faults = file(toml).unwrap_err();
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
