//! Paths and queries of requests, taken apart strictly: what is not well formed is refused, and never mended.

use std::fmt::Write as _;

/// A request's path and query, decoded. Made for the endpoint's own few paths, not for URLs in general.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path, decoded as a whole; `%2F` is a slash like any other, since no answer depends on the difference.
    pub path: String,
    /// The query's parameters, in their order.
    pub parameters: Vec<(String, String)>,
}

/// A path or a query that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A `%` without two hexadecimal digits after it.
    #[error("a `%` in the request's target is not followed by two hexadecimal digits")]
    Escape,
    /// The bytes are no text.
    #[error("the request's target is not UTF-8")]
    NotText,
    /// A control character, which no name has.
    #[error("the request's target has a control character in it")]
    Control,
    /// A parameter twice: which one is meant is not for us to say.
    #[error("a parameter is given twice")]
    Twice,
}

impl Target {
    /// Takes the target of a request apart: RFC 3986 for the path, and `application/x-www-form-urlencoded` (where `+` is a
    /// space) for the query.
    ///
    /// # Errors
    /// When an escape is not one, when what comes out is no text, or a parameter is given twice.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, Malformed> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name, true)?, decode(value, true)?);
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Malformed::Twice);
            }
            parameters.push((name, value));
        }
        Ok(Self { path: decode(path, false)?, parameters })
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is none of these.
    pub fn unknown_parameter(&self, known: &[&str]) -> Option<&str> {
        self.parameters.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
    }
}

/// A part of a URL's path with everything escaped that is not plain there.
pub fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn decode(text: &str, is_form: bool) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = rest.next().and_then(digit).ok_or(Malformed::Escape)?;
                let low = rest.next().and_then(digit).ok_or(Malformed::Escape)?;
                high << 4 | low
            }
            b'+' if is_form => b' ',
            plain => plain,
        });
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(Malformed::Control);
    }
    String::from_utf8(bytes).map_err(|_| Malformed::NotText)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_taken_back() {
        let target = Target::parse(
            "/v1/secrets/prod%2Fpay+ments/db",
            Some("secretId=My%20Test&x&refreshNow=true&a+b=c+d"),
        )
        .unwrap();
        assert_eq!(target.path, "/v1/secrets/prod/pay+ments/db");
        assert_eq!(target.parameter("secretId"), Some("My Test"));
        assert_eq!(target.parameter("x"), Some(""));
        assert_eq!(target.parameter("a b"), Some("c d"));
        assert_eq!(target.unknown_parameter(&["secretId", "x", "a b"]), Some("refreshNow"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for (path, query, fault) in [
            ("/%", None, Malformed::Escape),
            ("/%2", None, Malformed::Escape),
            ("/%+1", None, Malformed::Escape),
            ("/%ff", None, Malformed::NotText),
            ("/%00", None, Malformed::Control),
            ("/a%0d%0ab", None, Malformed::Control),
            ("/", Some("a=%zz"), Malformed::Escape),
            ("/", Some("a=1&b=2&%61=3"), Malformed::Twice),
        ] {
            assert_eq!(Target::parse(path, query), Err(fault), "{path} {query:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(part in "[^\\x00-\\x1f\\x7f]{0,40}") {
            prop_assert_eq!(Target::parse(&encode(&part), None).map(|target| target.path), Ok(part));
        }

        #[test]
        fn nothing_breaks_it(path: String, query: Option<String>) {
            let _ = Target::parse(&path, query.as_deref());
        }
    }
}
