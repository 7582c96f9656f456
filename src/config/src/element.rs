//! What a single value of the configuration can be: one parser a type, each with the words for what it wants.

use std::{net::SocketAddr, path::PathBuf};

use leasehold_core::{
    SecretPath,
    path::PathPrefix,
    principal::TrustDomain,
    provider::ProviderName,
    rotation::{Blackout, Cron, Retire},
    secret::FieldName,
};
use toml::de::DeValue;

/// A type that a key's value can have.
pub trait Element: Sized {
    /// What a good value looks like; it completes "… must be".
    const SHAPE: &'static str;

    /// What it is in TOML.
    const FORM: Form = Form::Text;

    /// Takes a value as it is written; nothing is repaired.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;

    /// The value as people write it.
    fn show(&self) -> String;
}

/// What a value is in TOML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// In quotation marks.
    #[default]
    Text,
    /// A number without a fraction.
    Whole,
    /// `true` or `false`.
    Truth,
    /// Several texts in brackets, or one without them.
    Texts,
}

/// Why a value is not what the key wants: completes "`key` …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl Wrong {
    /// It does not look as it should.
    pub fn shape<T: Element>() -> Self {
        Self(format!("must be {}", T::SHAPE))
    }

    /// It is of another type altogether.
    pub fn kind<T: Element>(value: &DeValue<'_>) -> Self {
        Self(format!("must be {}, and is {} {}", T::SHAPE, article(value), value.type_str()))
    }
}

/// The text of a value that is written as text.
pub fn text<'v, T: Element>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| Wrong::kind::<T>(value))
}

fn article(value: &DeValue<'_>) -> &'static str {
    if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" }
}

impl Element for String {
    const SHAPE: &'static str = "a text in quotation marks, not empty";

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text::<Self>(value)?;
        if text.is_empty() { Err(Wrong::shape::<Self>()) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// As written; the section makes it absolute.
impl Element for PathBuf {
    const SHAPE: &'static str = "a path in quotation marks, or `credential:NAME`";

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text::<Self>(value)?;
        if text.is_empty() || text.contains('\0') { Err(Wrong::shape::<Self>()) } else { Ok(text.into()) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Element for bool {
    const SHAPE: &'static str = "`true` or `false`, without quotation marks";
    const FORM: Form = Form::Truth;

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| Wrong::kind::<Self>(value))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Element for u32 {
    const SHAPE: &'static str = "a whole number, not negative";
    const FORM: Form = Form::Whole;

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let number = value.as_integer().ok_or_else(|| Wrong::kind::<Self>(value))?;
        Self::from_str_radix(number.as_str(), number.radix()).map_err(|_| Wrong::shape::<Self>())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Element for Retire {
    const SHAPE: &'static str = "`\"keep\"`, `\"disable\"` or `\"destroy\"`";

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let name = text::<Self>(value)?;
        let all = [Self::Keep, Self::Disable, Self::Destroy];
        all.into_iter().find(|retire| retire.name() == name).ok_or_else(Wrong::shape::<Self>)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// One or several: a single value may stand without its brackets.
impl<T: Element> Element for Vec<T> {
    const SHAPE: &'static str = T::SHAPE;
    const FORM: Form = Form::Texts;

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value {
            DeValue::Array(items) => items.iter().map(|item| T::read(item.get_ref())).collect(),
            one => T::read(one).map(|one| vec![one]),
        }
    }

    fn show(&self) -> String {
        self.iter().map(T::show).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! parsed_from_text {
    ($($type:ty: $shape:literal),+ $(,)?) => {$(
        impl Element for $type {
            const SHAPE: &'static str = $shape;

            fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
                let text = text::<Self>(value)?;
                text.parse().map_err(|error| Wrong(format!("is not {}: {error}", Self::SHAPE)))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
parsed_from_text!(
    SocketAddr: "an IP address with a port, such as `0.0.0.0:8443` or `[::]:8443`",
    TrustDomain: "a trust domain such as `example.org`",
    ProviderName: "a provider's name such as `aws-main`",
    SecretPath: "a secret's path such as `prod/payments/db`",
    PathPrefix: "a mount's prefix such as `prod/shared/`",
    FieldName: "a field's name such as `password`",
    Cron: "a cron pattern",
    Blackout: "a time in which nothing is rotated",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Element>(toml: &str) -> Result<String, String> {
        let value = DeValue::parse(toml).unwrap();
        T::read(value.get_ref()).map(|good| good.show()).map_err(|wrong| wrong.0)
    }

    #[test]
    fn values_are_taken_as_they_are_or_refused() {
        assert_eq!(read::<u32>("0x10"), Ok("16".into()));
        assert_eq!(read::<u32>("1_000"), Ok("1000".into()));
        assert_eq!(read::<u32>("-1"), Err("must be a whole number, not negative".into()));
        assert_eq!(read::<u32>("4294967296"), Err("must be a whole number, not negative".into()));
        assert_eq!(
            read::<bool>("\"true\""),
            Err("must be `true` or `false`, without quotation marks, and is a string".into())
        );
        assert_eq!(read::<Vec<String>>("\"a\""), Ok("a".into()));
        assert_eq!(read::<Vec<String>>("[\"a\", \"b\"]"), Ok("a, b".into()));
        assert!(read::<Vec<String>>("[\"a\", 1]").is_err());
        assert!(read::<String>("\"\"").is_err());
        assert!(read::<SocketAddr>("\"localhost:1\"").unwrap_err().contains("IP address with a port"));
        assert_eq!(read::<SecretPath>("\"prod/db\""), Ok("prod/db".into()));
        assert!(read::<SecretPath>("\"prod\"").unwrap_err().contains("an environment and a name"));
        assert!(read::<std::time::Duration>("15").unwrap_err().ends_with("and is an integer"));
    }
}
