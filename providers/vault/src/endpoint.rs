//! Calls for which `vaultrs` has no request, or one that loses part of the answer.

use std::collections::BTreeMap;

use leasehold_core::SecretBytes;
use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::role::Method;

/// A call whose answer is kept as it is written, number for number.
pub(crate) struct Raw {
    method: RequestMethod,
    path: String,
    query: Option<String>,
    body: Option<SecretBytes>,
}

impl Raw {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: RequestMethod::GET, path: path.into(), query: None, body: None }
    }

    /// A call with a body; one that cannot be written as JSON is empty, and Vault says so.
    pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self::post_text(path, serde_json::to_vec(body).unwrap_or_default().into())
    }

    /// A call with a body that is JSON already.
    pub(crate) fn post_text(path: impl Into<String>, body: SecretBytes) -> Self {
        Self { method: RequestMethod::POST, path: path.into(), query: None, body: Some(body) }
    }

    /// A call with parameters where its method has them.
    pub(crate) fn with_parameters(
        method: Method,
        path: impl Into<String>,
        parameters: &BTreeMap<&str, String>,
    ) -> Self {
        match method {
            Method::Get => Self::get(path).query(parameters),
            Method::Post => Self::post(path, parameters),
            Method::Put => Self { method: RequestMethod::PUT, ..Self::post(path, parameters) },
        }
    }

    /// With parameters in the query.
    pub(crate) fn query(mut self, parameters: &BTreeMap<&str, String>) -> Self {
        let url = reqwest::Url::parse_with_params("http://localhost/", parameters).ok();
        self.query = url.and_then(|url| url.query().map(str::to_owned)).filter(|query| !query.is_empty());
        self
    }
}

impl Endpoint for Raw {
    type Response = Box<RawValue>;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.query.clone())
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.body.as_ref().map(|body| body.expose().to_vec()))
    }
}
