//! What TLS needs to be told.

use std::path::PathBuf;

/// The files and the few choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The broker's certificate and its intermediates, leaf first (PEM).
    pub certificate: PathBuf,
    /// The certificate's key (PEM: PKCS #8, SEC 1 or PKCS #1), readable by its owner only.
    pub key: PathBuf,
    /// The authorities whose clients are let in (PEM, one or more certificates).
    pub client_bundle: PathBuf,
    /// Revocation lists (PEM with one or more, or DER with one); none means that nothing is revoked before it expires.
    pub crls: Vec<PathBuf>,
    /// Whether TLS 1.2 is spoken too.
    pub allow_tls12: bool,
    /// Whether a client may resume a session instead of a full handshake; its certificate is verified either way.
    pub resumption: bool,
    /// Whether a revocation list that should have been replaced by now still counts. If not, nobody whose
    /// certificate it covers gets in until there is a new one.
    pub accept_stale_crls: bool,
    /// Whether a certificate that no revocation list covers is refused (when there are lists at all).
    pub require_crl: bool,
}

impl Settings {
    /// These files, and the strict choices otherwise.
    pub fn new(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        client_bundle: impl Into<PathBuf>,
    ) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_bundle: client_bundle.into(),
            crls: Vec::new(),
            allow_tls12: false,
            resumption: true,
            accept_stale_crls: false,
            require_crl: false,
        }
    }
}
