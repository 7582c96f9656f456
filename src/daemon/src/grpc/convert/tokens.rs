//! Tokens that clients hand back: opaque, so that nobody takes them apart and what is in them can change.

use data_encoding::BASE64URL_NOPAD;
use leasehold_core::{LeaseId, Timestamp, state::Revision};
use leasehold_engine::request::{Left, WatchPosition};

use crate::grpc::status::EdgeError;

/// The engine's page token as clients see it; empty on the last page.
pub(crate) fn page_token(token: Option<String>) -> String {
    token.map(|token| BASE64URL_NOPAD.encode(token.as_bytes())).unwrap_or_default()
}

/// The engine's page token that a client handed back.
pub(crate) fn parse_page_token(token: &str) -> Result<Option<String>, EdgeError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| EdgeError::BadPageToken)?;
    String::from_utf8(bytes).map(Some).map_err(|_| EdgeError::BadPageToken)
}

/// A place in a watch, as clients see it: the record, the time, and what is left of the beginning.
pub(crate) fn resume_token(position: &WatchPosition) -> String {
    let mut bytes = position.seen.to_be_bytes().to_vec();
    bytes.extend(position.warned.as_millisecond().to_be_bytes());
    if let Some(left) = position.left {
        bytes.extend(left.past.bits());
        bytes.extend(left.since.map(Revision::to_be_bytes).into_iter().flatten());
    }
    BASE64URL_NOPAD.encode(&bytes)
}

/// The place in a watch that a client handed back; `None` when it is none.
pub(crate) fn parse_resume_token(token: &str) -> Option<WatchPosition> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let (seen, rest) = bytes.split_first_chunk()?;
    let seen = Revision::from_be_bytes(*seen);
    // Earlier brokers knew of records only.
    if rest.is_empty() {
        return Some(WatchPosition::at(seen));
    }
    let (warned, rest) = rest.split_first_chunk()?;
    let warned = Timestamp::from_millisecond(i64::from_be_bytes(*warned)).ok()?;
    let left = match rest.split_first_chunk() {
        None if rest.is_empty() => None,
        None => return None,
        Some((past, since)) => {
            let since = match since {
                [] => None,
                since => Some(Revision::from_be_bytes(since.try_into().ok()?)),
            };
            Some(Left { past: LeaseId::from_bits(*past), since })
        }
    };
    Some(WatchPosition { seen, warned, left })
}

/// A place in the watch of a secret, as clients see it: the notice's number.
pub(crate) fn notice_token(number: u64) -> String {
    BASE64URL_NOPAD.encode(&number.to_be_bytes())
}

/// The place in the watch of a secret that a client handed back; `None` when it is none.
pub(crate) fn parse_notice_token(token: &str) -> Option<u64> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let token = page_token(Some("lease/lease-a".to_owned()));
        assert!(!token.contains("lease"), "{token}");
        assert_eq!(parse_page_token(&token).unwrap().as_deref(), Some("lease/lease-a"));
        assert_eq!(parse_page_token("").unwrap(), None);
        assert!(parse_page_token("lease/x").is_err());
    }

    #[test]
    fn places_in_a_watch_come_back() {
        let at = WatchPosition { warned: Timestamp::from_second(9).unwrap(), ..WatchPosition::at(77) };
        let left = |since| Some(Left { past: LeaseId::from_bits([7; 16]), since });
        for left in [None, left(None), left(Some(5))] {
            let position = WatchPosition { left, ..at };
            assert_eq!(parse_resume_token(&resume_token(&position)), Some(position));
        }
        assert_eq!(parse_resume_token(&resume_token(&WatchPosition::at(1))), Some(WatchPosition::at(1)));
        let earlier = BASE64URL_NOPAD.encode(&77_u64.to_be_bytes());
        assert_eq!(parse_resume_token(&earlier), Some(WatchPosition::at(77)));
        let cut = &resume_token(&WatchPosition { left: left(Some(5)), ..at })[..30];
        assert_eq!(parse_resume_token(cut), None);
        assert_eq!(parse_resume_token("77"), None);
        assert_eq!(parse_resume_token(""), None);
    }
}
