//! What Google Cloud answers, written from its public API documentation:
//! <https://cloud.google.com/secret-manager/docs/reference/rest>,
//! <https://cloud.google.com/iam/docs/reference/credentials/rest>.
