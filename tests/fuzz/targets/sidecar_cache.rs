//! What the sidecar keeps on disk, unsealed: it is read or refused, and what was read is written as the same again.

#![no_main]

use leasehold_core::SecretBytes;
use leasehold_sidecar::cache::form::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(contents) = decode(&SecretBytes::new(data.to_vec())) {
        let text = encode(&contents).expect("what was read can be written");
        let again = decode(&text).expect("what was written can be read");
        let rewritten = encode(&again).expect("what was read can be written");
        assert_eq!(text.expose(), rewritten.expose());
    }
});
