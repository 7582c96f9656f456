//! A canary: a value that must leave no trace, and the forms in which one would show: as it is, in the encodings that
//! programs use, and as a hash that needs no key.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE32, BASE64, BASE64URL, Encoding, HEXLOWER, HEXUPPER};
use leasehold_core::ports::Entropy;
use leasehold_seal::SystemEntropy;

/// A value that occurs nowhere else.
pub struct Canary {
    name: String,
    value: String,
    forms: Vec<(String, Vec<u8>)>,
}

impl Canary {
    /// A new one; `name` is what a failed test calls it.
    pub fn new(name: impl Into<String>) -> Self {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random).unwrap();
        // With a character that base64 tells from its URL form, and one that JSON escapes.
        let value = format!("canary>>?\"{}", HEXLOWER.encode(&random));
        Self::of(name, value)
    }

    /// One that somebody else made, such as a back end.
    pub fn of(name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        let forms = forms(value.as_bytes());
        Self { name, value, forms }
    }

    /// What must not be left anywhere.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// In which forms it is in these bytes.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let shows = |form: &&(String, Vec<u8>)| memchr::memmem::find(&bytes[..end], &form.1).is_some();
        self.forms.iter().filter(shows).map(|(form, _)| format!("{} as {form}", self.name)).collect()
    }
}

fn forms(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = std::str::from_utf8(value).unwrap();
    let list = |between: &str| value.iter().map(u8::to_string).collect::<Vec<_>>().join(between);
    let json = serde_json::to_string(text).unwrap();
    let mut forms = vec![
        ("it is".to_owned(), value.to_vec()),
        ("JSON".to_owned(), json.trim_matches('"').into()),
        ("Rust prints text".to_owned(), text.escape_debug().to_string().into()),
        ("Rust prints bytes".to_owned(), list(", ").into()),
        ("JSON has bytes".to_owned(), list(",").into()),
        ("hexadecimal".to_owned(), HEXLOWER.encode(value).into()),
        ("HEXADECIMAL".to_owned(), HEXUPPER.encode(value).into()),
        ("UTF-16".to_owned(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    // Within something longer it can begin at any byte of a group.
    for (name, encoding, group, bits) in
        [("base64", BASE64, 3, 6), ("URL-safe base64", BASE64URL, 3, 6), ("base32", BASE32, 5, 5)]
    {
        for offset in 0..group {
            let inner = encoded_at(&encoding, value, offset, bits);
            forms.push((format!("{name} at byte {offset}"), inner.to_ascii_lowercase().into()));
            forms.push((format!("{name} at byte {offset}"), inner.into()));
        }
    }
    // Whoever can guess it can find an unkeyed hash of it.
    let hash = digest(&SHA256, value);
    forms.push(("SHA-256".to_owned(), HEXLOWER.encode(hash.as_ref()).into()));
    forms.push(("SHA-256 in base64".to_owned(), BASE64.encode(hash.as_ref()).trim_matches('=').into()));
    forms
}

/// The characters that `value` alone decides when it begins `offset` bytes into something encoded.
fn encoded_at(encoding: &Encoding, value: &[u8], offset: usize, bits: usize) -> String {
    let padded = [&vec![0; offset], value].concat();
    let all = encoding.encode(&padded);
    let (from, to) = ((offset * 8).div_ceil(bits), padded.len() * 8 / bits);
    all[from..to].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_however_it_is_wrapped() {
        let canary = Canary::new("one");
        let value = canary.value();
        let mut wrapped = vec![
            format!("password={value};").into_bytes(),
            serde_json::to_vec(&serde_json::json!({ "a": value })).unwrap(),
            serde_json::to_vec(value.as_bytes()).unwrap(),
            format!("{value:?}").into_bytes(),
            format!("{:?}", value.as_bytes()).into_bytes(),
            format!("{:02x?}", value.as_bytes()).replace(['[', ']', ',', ' '], "").into_bytes(),
            [value.as_bytes(), &[0; 1000]].concat(),
        ];
        for before in 0..6 {
            let blob = [&vec![b'x'; before][..], value.as_bytes(), b"yz"].concat();
            wrapped.extend([BASE64.encode(&blob), BASE64URL.encode(&blob)].map(String::into_bytes));
            wrapped.push(BASE32.encode(&blob).to_ascii_lowercase().into_bytes());
        }
        for bytes in wrapped {
            assert!(!canary.found_in(&bytes).is_empty(), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn another_canary_is_not_found() {
        let other = Canary::new("two");
        assert_eq!(Canary::new("one").found_in(other.value().as_bytes()), Vec::<String>::new());
        assert_eq!(other.found_in(&[0; 64]), Vec::<String>::new());
        let known = Canary::new("three");
        assert_eq!(known.found_in(known.value().as_bytes()), ["three as it is"]);
    }
}
