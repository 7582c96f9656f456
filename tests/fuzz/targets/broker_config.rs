//! `leaseholdd`'s configuration: whatever the text is, it is read or refused with its faults, each at a place in it.

#![no_main]

use leaseholdd::config::{Config, Source};
use libfuzzer_sys::{Corpus, fuzz_target};

/// A file of `secrets.d`, so that both kinds meet in one catalog.
const MORE: &str = "[[secret]]\npath = 'prod/fuzz/more'\nprovider = 'local'\n";

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    let main = Source::new("/etc/leasehold/leasehold.toml", text);
    let more = Source::new("/etc/leasehold/secrets.d/more.toml", MORE);
    let swapped = Config::parse(&more, std::slice::from_ref(&main));
    assert!(swapped.is_err(), "a file of secrets was taken for a whole configuration");
    if let Err(faults) = Config::parse(&main, &[more]) {
        assert!(faults.count() > 0, "it was refused for nothing");
        let lines = text.split('\n').count();
        for fault in faults.iter().filter(|fault| *fault.place.file == *main.file()) {
            let place = &fault.place;
            assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place} is not in the file");
            assert!(!fault.message.is_empty(), "a fault at {place} says nothing");
        }
    }
    Corpus::Keep
});
