//! Keeping values out of what a program says.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use leasehold_core::SecretValue;
use zeroize::Zeroizing;

/// What must not be seen, in the forms in which programs print it: as it is, its lines, in hexadecimal, in base64, and
/// escaped as in JSON and in URLs.
#[derive(Default)]
pub struct Mask {
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask of {} forms", self.forms.len())
    }
}

/// What stands in a value's place.
const MASKED: &[u8] = b"[masked]";
/// What is shorter is a word of its own too often: then the whole line goes.
const SHORTEST: usize = 4;

impl Mask {
    /// Of the fields of these values.
    pub fn of<'a>(values: impl Iterator<Item = &'a SecretValue>) -> Self {
        let mut forms: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for bytes in values.flat_map(|value| value.fields.values()) {
            let bytes = bytes.expose();
            let mut add = |form: Vec<u8>| {
                if !form.is_empty() {
                    forms.push(Zeroizing::new(form));
                }
            };
            add(bytes.to_vec());
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| line.len() >= SHORTEST) {
                add(line.to_vec());
            }
            if bytes.len() < SHORTEST {
                continue;
            }
            for encoding in [&HEXLOWER, &HEXUPPER, &BASE64, &BASE64_NOPAD, &BASE64URL, &BASE64URL_NOPAD] {
                add(encoding.encode(bytes).into_bytes());
            }
            add(escaped_in_url(bytes));
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(quoted) = serde_json::to_string(text)
            {
                add(quoted.trim_matches('"').as_bytes().to_vec());
            }
        }
        // The longest first, so that no part of one is left when a shorter one lies in it.
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self { forms }
    }

    /// The line without what must not be seen, as text without control characters.
    pub fn clean(&self, line: &[u8]) -> String {
        let mut left = Zeroizing::new(line.to_vec());
        for form in &self.forms {
            // To look for a long value in each of many short lines would hold everybody up.
            if form.len() > left.len() || memchr::memmem::find(&left, form).is_none() {
                continue;
            }
            if form.len() < SHORTEST {
                return String::from_utf8_lossy(MASKED).into_owned();
            }
            *left = replaced(&left, form);
        }
        let text = String::from_utf8_lossy(&left);
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }
}

fn replaced(line: &[u8], form: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memmem::find(rest, form) {
        let (before, found) = rest.split_at(at);
        made.extend_from_slice(before);
        made.extend_from_slice(MASKED);
        rest = found.get(form.len()..).unwrap_or_default();
    }
    made.extend_from_slice(rest);
    made
}

/// RFC 3986: what is not unreserved is escaped.
fn escaped_in_url(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            escaped.push(*byte);
        } else {
            escaped.push(b'%');
            escaped.extend_from_slice(HEXUPPER.encode(&[*byte]).as_bytes());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(value: &str) -> Mask {
        Mask::of([&SecretValue::plain(value.to_owned())].into_iter())
    }

    #[test]
    fn a_value_is_seen_in_no_form() {
        let value = "s3cr3t/wörd+\"1";
        let mask = mask(value);
        let forms = [
            value.to_owned(),
            BASE64.encode(value.as_bytes()),
            BASE64URL_NOPAD.encode(value.as_bytes()),
            HEXLOWER.encode(value.as_bytes()),
            HEXUPPER.encode(value.as_bytes()),
            "s3cr3t%2Fw%C3%B6rd%2B%221".to_owned(),
            "s3cr3t/wörd+\\\"1".to_owned(),
        ];
        for form in forms {
            assert_eq!(mask.clean(format!("a {form} b {form}").as_bytes()), "a [masked] b [masked]");
        }
        assert_eq!(mask.clean(b"nothing\x1b[31m here"), "nothing\u{fffd}[31m here");
    }

    #[test]
    fn the_lines_of_a_key_are_seen_on_no_line() {
        let mask = mask("-----BEGIN-----\nMIIEvQIBADAN\n-----END-----\n");
        assert_eq!(mask.clean(b"got MIIEvQIBADAN"), "got [masked]");
    }

    #[test]
    fn a_short_value_takes_the_whole_line_along() {
        assert_eq!(mask("abc").clean(b"login as abc failed"), "[masked]");
        assert_eq!(mask("abc").clean(b"login failed"), "login failed");
    }
}
