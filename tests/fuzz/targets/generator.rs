//! Rules for new values, as they are stored: one is refused, or makes values that it describes. Also JSON of back ends taken
//! apart into fields, and put together again.

#![no_main]

use std::sync::Arc;

use leasehold_core::{
    SecretBytes,
    ports::Generate,
    rotation::Generator,
    secret::json::{Body, Format, decode, encode},
};
use leasehold_generate::Maker;
use leasehold_seal::SystemEntropy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(rule) = serde_json::from_slice::<Generator>(data) {
        made(&rule);
    }
    for format in [Format::Fields, Format::Raw] {
        let value = decode(Body::guess(SecretBytes::new(data.to_vec())), format);
        assert!(!value.fields.is_empty(), "a value without a field");
        let body = encode(&value).expect("what a back end holds can be written there");
        let again = decode(body, format);
        let shown = |value: &leasehold_core::SecretValue| -> Vec<_> {
            value.fields.iter().map(|(name, bytes)| (name.clone(), bytes.expose().to_vec())).collect()
        };
        // Said to be JSON, it is its own fields; said to be raw, an object is not looked into.
        if format == Format::Fields {
            assert_eq!(shown(&again), shown(&value));
        }
    }
});

fn made(rule: &Generator) {
    // Keys take seconds, and no rule changes how they are made; back ends are not here.
    if matches!(rule, Generator::KeyPair(_) | Generator::BackEnd { .. }) {
        return;
    }
    // The configuration makes rules of these parts only where they are bounded.
    let bounded = match rule {
        Generator::Hex { bytes } => Generator::hex(*bytes).is_ok(),
        Generator::Base64 { bytes } => Generator::base64(*bytes).is_ok(),
        Generator::Passphrase { words, separator } => {
            Generator::passphrase(*words, separator.clone()).is_ok()
        }
        _ => true,
    };
    if !bounded {
        return;
    }
    let made = Maker::new(Arc::new(SystemEntropy)).generate(rule).expect("there is randomness");
    let text = str::from_utf8(made.value.expose()).expect("it is text");
    assert!(!text.is_empty());
    if let Generator::Password(password) = rule {
        assert_eq!(text.len(), password.length() as usize);
        for class in password.classes() {
            let found = text.chars().filter(|c| class.characters.contains(*c)).count();
            assert!(found >= class.minimum as usize, "{found} of {:?}", class.characters);
        }
    }
}
