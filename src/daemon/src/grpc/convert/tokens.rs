//! Tokens that clients hand back: opaque, so that nobody takes them apart and what is in them can change.

use data_encoding::BASE64URL_NOPAD;
use leasehold_core::state::Revision;

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

/// A place in a watch, as clients see it.
pub(crate) fn resume_token(revision: Revision) -> String {
    BASE64URL_NOPAD.encode(&revision.to_be_bytes())
}

/// The place in a watch that a client handed back; `None` when it is none.
pub(crate) fn parse_resume_token(token: &str) -> Option<Revision> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    bytes.try_into().ok().map(Revision::from_be_bytes)
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
        assert_eq!(parse_resume_token(&resume_token(77)), Some(77));
        assert_eq!(parse_resume_token("77"), None);
        assert_eq!(parse_resume_token(""), None);
    }
}
