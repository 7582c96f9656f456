//! Answers that hold values: their bytes are wiped when they have been sent.

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use leasehold_core::SecretBytes;

use super::problem::NO_STORE;

/// Bytes that a response owns.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A success with this body.
pub(crate) fn answer(body: SecretBytes, media_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_owner(Wiped(body))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // A value is not for a browser to guess about.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}
