//! How a new value is made.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::secret::SecretBytes;

/// How a new value is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// Characters of some classes.
    Password(Password),
    /// Words, as the EFF's long list has them.
    Passphrase {
        /// How many.
        words: u32,
        /// What stands between them.
        separator: Box<str>,
    },
    /// So many random bytes, in lower-case hexadecimal.
    Hex {
        /// How many bytes before they are encoded.
        bytes: u32,
    },
    /// So many random bytes, in base64 (RFC 4648, section 4, with padding).
    Base64 {
        /// How many bytes before they are encoded.
        bytes: u32,
    },
    /// A random UUID (RFC 9562, version 4).
    Uuid,
    /// A private key in PKCS#8 (RFC 5208) and its public one in SubjectPublicKeyInfo (RFC 5280), both PEM.
    KeyPair(KeyKind),
    /// By a rule that the secret's back end has under this name.
    BackEnd {
        /// The rule's name there.
        policy: Box<str>,
    },
}

/// What a password is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PasswordParts", into = "PasswordParts")]
pub struct Password {
    length: u32,
    classes: Vec<Class>,
}

/// Some characters, of which a password has at least so many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// The characters: visible ASCII, each once.
    pub characters: Box<str>,
    /// How many there are at least.
    pub minimum: u32,
}

/// What kind of key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// What a generator made.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The value: what is secret of it.
    pub value: SecretBytes,
    /// Of a key pair: the public key.
    pub public: Option<SecretBytes>,
}

/// Why a rule makes no values that anybody should use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WeakRule {
    /// Too short, or too long.
    #[error("a password has {least} to {most} characters", least = Password::SHORTEST, most = Password::LONGEST)]
    Length,
    /// No class has characters.
    #[error("a password needs at least one class of characters")]
    NoCharacters,
    /// A class's characters are not visible ASCII, or one of them is in another class or twice.
    #[error("`{0}` is not a visible ASCII character, or is named twice")]
    Character(char),
    /// The minimums do not fit into the length.
    #[error("the classes ask for {asked} characters at least, and the password has {length}")]
    Minimums {
        /// What they ask for together.
        asked: u64,
        /// The length.
        length: u32,
    },
    /// It can be guessed.
    #[error("such a value has {bits} bits of randomness, and needs {least}", least = Generator::LEAST_BITS)]
    Guessable {
        /// How many it has.
        bits: u32,
    },
    /// So many make no value.
    #[error("a value has at most {0} {1}")]
    TooMany(u32, &'static str),
}

/// The form in which a password's rule is written down, before it is checked.
#[derive(Clone, Serialize, Deserialize)]
struct PasswordParts {
    length: u32,
    classes: Vec<Class>,
}

impl Generator {
    /// What can be guessed in fewer tries is no secret.
    pub const LEAST_BITS: u32 = 64;
    /// The words of the list that passphrases are made of.
    pub const WORD_LIST: u32 = 7776;
    const MOST_BYTES: u32 = 4096;
    const MOST_WORDS: u32 = 64;

    /// A passphrase of so many words.
    ///
    /// # Errors
    /// When it could be guessed, or is too long.
    pub fn passphrase(words: u32, separator: impl Into<Box<str>>) -> Result<Self, WeakRule> {
        Self::Passphrase { words, separator: separator.into() }.checked()
    }

    /// So many random bytes in hexadecimal.
    ///
    /// # Errors
    /// When they could be guessed, or are too many.
    pub fn hex(bytes: u32) -> Result<Self, WeakRule> {
        Self::Hex { bytes }.checked()
    }

    /// So many random bytes in base64.
    ///
    /// # Errors
    /// When they could be guessed, or are too many.
    pub fn base64(bytes: u32) -> Result<Self, WeakRule> {
        Self::Base64 { bytes }.checked()
    }

    /// How many bits of randomness a value has at least, rounded down; `None` when only a back end knows.
    pub fn bits(&self) -> Option<u32> {
        match self {
            Self::Password(password) => Some(password.bits()),
            Self::Passphrase { words, .. } => {
                Some(floor(f64::from(*words) * f64::from(Self::WORD_LIST).log2()))
            }
            Self::Hex { bytes } | Self::Base64 { bytes } => Some(bytes.saturating_mul(8)),
            Self::Uuid => Some(122),
            // As NIST SP 800-57 part 1 (table 2) counts a key's strength.
            Self::KeyPair(KeyKind::Ed25519 | KeyKind::P256 | KeyKind::Rsa3072) => Some(128),
            Self::KeyPair(KeyKind::P384) => Some(192),
            Self::KeyPair(KeyKind::Rsa2048) => Some(112),
            Self::KeyPair(KeyKind::Rsa4096) => Some(140),
            Self::BackEnd { .. } => None,
        }
    }

    fn checked(self) -> Result<Self, WeakRule> {
        match self {
            Self::Hex { bytes } | Self::Base64 { bytes } if bytes > Self::MOST_BYTES => {
                return Err(WeakRule::TooMany(Self::MOST_BYTES, "bytes"));
            }
            Self::Passphrase { words, .. } if words > Self::MOST_WORDS => {
                return Err(WeakRule::TooMany(Self::MOST_WORDS, "words"));
            }
            _ => {}
        }
        match self.bits() {
            Some(bits) if bits < Self::LEAST_BITS => Err(WeakRule::Guessable { bits }),
            _ => Ok(self),
        }
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::Password(Password::default())
    }
}

impl Password {
    /// The shortest password.
    pub const SHORTEST: u32 = 8;
    /// The longest password.
    pub const LONGEST: u32 = 1024;
    /// The lower-case letters.
    pub const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
    /// The upper-case letters.
    pub const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    /// The digits.
    pub const DIGITS: &str = "0123456789";
    /// The symbols that need no quoting in a shell's double quotes, a URL's user part or a connection string.
    pub const SYMBOLS: &str = "-._~+";

    /// Passwords of `length` characters of these classes, with at least each class's minimum.
    ///
    /// # Errors
    /// When that is not possible, or what comes of it could be guessed.
    pub fn new(length: u32, classes: Vec<Class>) -> Result<Self, WeakRule> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&length) {
            return Err(WeakRule::Length);
        }
        if classes.iter().all(|class| class.characters.is_empty()) {
            return Err(WeakRule::NoCharacters);
        }
        let mut seen = String::new();
        for character in classes.iter().flat_map(|class| class.characters.chars()) {
            if !character.is_ascii_graphic() || seen.contains(character) {
                return Err(WeakRule::Character(character));
            }
            seen.push(character);
        }
        let asked = classes.iter().map(|class| u64::from(class.minimum)).fold(0, u64::saturating_add);
        if asked > u64::from(length) || classes.iter().any(|c| c.characters.is_empty() && c.minimum > 0) {
            return Err(WeakRule::Minimums { asked, length });
        }
        let password = Self { length, classes };
        match password.bits() {
            bits if bits < Generator::LEAST_BITS => Err(WeakRule::Guessable { bits }),
            _ => Ok(password),
        }
    }

    /// How many characters.
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// Of what.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// How many bits of randomness it has at least: its characters', with the minimums' taken from their own classes.
    fn bits(&self) -> u32 {
        let size = |class: &Class| f64::from(u32::try_from(class.characters.len()).unwrap_or(u32::MAX));
        let asked: u32 = self.classes.iter().map(|class| class.minimum).fold(0, u32::saturating_add);
        let all: f64 = self.classes.iter().map(size).sum();
        let of_minimums: f64 = self
            .classes
            .iter()
            .filter(|class| class.minimum > 0)
            .map(|class| f64::from(class.minimum) * size(class).max(1.0).log2())
            .sum();
        floor(of_minimums + f64::from(self.length.saturating_sub(asked)) * all.max(1.0).log2())
    }
}

impl Default for Password {
    /// 32 letters and digits, some of each.
    fn default() -> Self {
        let class = |characters: &str| Class { characters: characters.into(), minimum: 1 };
        Self { length: 32, classes: vec![class(Self::LOWER), class(Self::UPPER), class(Self::DIGITS)] }
    }
}

impl TryFrom<PasswordParts> for Password {
    type Error = WeakRule;

    fn try_from(parts: PasswordParts) -> Result<Self, WeakRule> {
        Self::new(parts.length, parts.classes)
    }
}

impl From<Password> for PasswordParts {
    fn from(password: Password) -> Self {
        Self { length: password.length, classes: password.classes }
    }
}

impl KeyKind {
    /// Every kind there is.
    pub const ALL: [Self; 6] =
        [Self::Ed25519, Self::P256, Self::P384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "ec-p256",
            Self::P384 => "ec-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The whole part of a number of bits.
fn floor(bits: f64) -> u32 {
    // INVARIANT: rules have at most some thousand characters, bytes or words.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small and positive")]
    let whole = bits.floor() as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(characters: &str, minimum: u32) -> Class {
        Class { characters: characters.into(), minimum }
    }

    #[test]
    fn what_cannot_be_or_can_be_guessed_is_refused() {
        use WeakRule::*;
        let of = |length, classes| Password::new(length, classes).unwrap_err();
        assert_eq!(of(7, vec![class(Password::LOWER, 0)]), Length);
        assert_eq!(of(1025, vec![class(Password::LOWER, 0)]), Length);
        assert_eq!(of(20, vec![]), NoCharacters);
        assert_eq!(of(20, vec![class("", 0)]), NoCharacters);
        assert_eq!(of(20, vec![class("aba", 0)]), Character('a'));
        assert_eq!(of(20, vec![class("ab", 0), class("bc", 0)]), Character('b'));
        assert_eq!(of(20, vec![class("a b", 0)]), Character(' '));
        assert_eq!(of(20, vec![class("aé", 0)]), Character('é'));
        assert_eq!(
            of(20, vec![class(Password::LOWER, 11), class(Password::DIGITS, 10)]),
            Minimums { asked: 21, length: 20 }
        );
        assert_eq!(of(20, vec![class(Password::LOWER, 0), class("", 1)]), Minimums { asked: 1, length: 20 });
        assert_eq!(of(8, vec![class(Password::LOWER, 0)]), Guessable { bits: 37 });
    }

    #[test]
    fn bits_are_counted() {
        let bits = |generator: Generator| generator.bits().unwrap();
        assert_eq!(bits(Generator::default()), 185);
        assert_eq!(bits(Generator::passphrase(6, "-").unwrap()), 77);
        assert_eq!(bits(Generator::hex(16).unwrap()), 128);
        assert_eq!(Generator::hex(7), Err(WeakRule::Guessable { bits: 56 }));
        assert_eq!(Generator::passphrase(4, " "), Err(WeakRule::Guessable { bits: 51 }));
        assert_eq!(Generator::base64(5000), Err(WeakRule::TooMany(4096, "bytes")));
        assert_eq!(Generator::BackEnd { policy: "x".into() }.bits(), None);
    }

    #[test]
    fn a_stored_rule_is_checked_like_a_new_one() {
        let rule = Generator::default();
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Generator>(&text).unwrap(), rule);
        let weak = text.replace("32", "3");
        assert!(serde_json::from_str::<Generator>(&weak).is_err(), "{weak}");
    }
}
