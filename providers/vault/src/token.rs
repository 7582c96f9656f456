//! A token of Vault's, in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A token. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token over; `None` when it is none: 1 to 8192 visible ASCII characters, so that it can be a header.
    pub(crate) fn new(text: impl Into<Zeroizing<String>>) -> Option<Self> {
        let text = text.into();
        let ok = (1..=8192).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        ok.then_some(Self(text))
    }

    /// The token in clear.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_into_a_header_is_a_token_and_it_is_not_shown() {
        let token = Token::new("s.canary".to_owned()).unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "[redacted] Some([redacted])");
        for bad in ["", "a b", "a\nb", "é"] {
            assert!(Token::new(bad.to_owned()).is_none(), "{bad:?}");
        }
    }
}
