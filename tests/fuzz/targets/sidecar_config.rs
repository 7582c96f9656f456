//! The sidecar's configuration: whatever the text is, it is read or refused with its faults, each at a place in it. What is
//! read has templates that compile, or are refused in words.

#![no_main]

use leasehold_config::Source;
use leasehold_sidecar::{Config, render::Renderer};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    match Config::parse(&Source::new("/etc/leasehold/sidecar.toml", text)) {
        Ok(mut config) => {
            use leasehold_sidecar::config::{Template, file::Content};
            // What is in files is for another target: nothing is opened here.
            config.file_list.retain(|file| !matches!(file.content, Content::Template(Template::File(_))));
            if let Err(errors) = Renderer::new(&config.file_list) {
                assert!(!errors.is_empty(), "it was refused for nothing");
            }
        }
        Err(faults) => {
            assert!(faults.count() > 0, "it was refused for nothing");
            let lines = text.split('\n').count();
            for fault in faults.iter() {
                let place = &fault.place;
                assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place} is not in the file");
                assert!(!fault.message.is_empty(), "a fault at {place} says nothing");
            }
        }
    }
    Corpus::Keep
});
