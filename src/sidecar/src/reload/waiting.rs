//! Why a reading of the configuration is not in force yet. Pure.

use std::collections::BTreeMap;

use crate::{name::Name, secrets::Progress};

/// What it waits for, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By secret; first what all of them wait for.
    why: BTreeMap<Option<Name>, String>,
}

impl Waiting {
    /// What is to be told now when that is something else than before; with nothing to wait for that would be known, `None`.
    pub(super) fn see(&mut self, progress: Progress<'_>) -> Option<Option<String>> {
        let (whom, why) = match progress {
            Progress::NoIdentity => (None, Some("there is no identity for the broker yet".to_owned())),
            Progress::Identity => (None, None),
            Progress::Refused(secret, error) => {
                let why = format!("`{}` cannot be leased, and is tried again: {error}", secret.name);
                (Some(&secret.name), Some(why))
            }
            Progress::Leased(secret) => (Some(&secret.name), None),
        };
        let before = match why.clone() {
            Some(why) => self.why.insert(whom.cloned(), why),
            None => self.why.remove(&whom.cloned()),
        };
        (before != why).then(|| {
            let all: Vec<_> = self.why.values().map(String::as_str).collect();
            (!all.is_empty()).then(|| all.join("; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use leasehold_client::{Answer, Error};
    use leasehold_config::Source;

    use super::*;
    use crate::Config;

    #[test]
    fn what_is_had_is_not_waited_for_any_more() {
        let text = "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'a'\npath = 'prod/a'\n\
                    [[secret]]\nname = 'b'\npath = 'prod/b'\n";
        let config = Config::parse(&Source::new("/etc/s.toml", text)).unwrap();
        let [a, b] = &config.secrets[..] else { panic!("{config:?}") };
        let away = Error::Unavailable { answer: Answer::default() };
        let mut waiting = Waiting::default();
        assert_eq!(
            waiting.see(Progress::NoIdentity),
            Some(Some("there is no identity for the broker yet".into()))
        );
        assert_eq!(waiting.see(Progress::Identity), Some(None));
        let of = |name: &str| format!("`{name}` cannot be leased, and is tried again: {away}");
        assert_eq!(waiting.see(Progress::Refused(b, &away)), Some(Some(of("b"))));
        assert_eq!(waiting.see(Progress::Refused(a, &away)), Some(Some(format!("{}; {}", of("a"), of("b")))));
        assert_eq!(waiting.see(Progress::Refused(a, &away)), None, "it has been told");
        assert_eq!(waiting.see(Progress::Leased(b)), Some(Some(of("a"))));
        assert_eq!(waiting.see(Progress::Leased(a)), Some(None));
    }
}
