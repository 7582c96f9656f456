//! The broker's own rules for the SDK's calls: when it asks again, and that it sends nothing in clear.

use std::time::Duration;

use aws_sdk_secretsmanager::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, InterceptorContext},
        retry::{ClassifyRetry, RetryAction},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::retries::classifiers::{RetryClassifierPriority, RetryReason};

use crate::{
    config::Endpoint,
    error::{PlaintextRefused, retry_hint},
};

/// The longest wait, asked for by AWS, that is waited here. Longer hints go to the caller, who has better things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Does as AWS says: waits as long as the hint asks, or, when that is longer than [`PATIENCE`], lets the caller know.
#[derive(Debug)]
pub(crate) struct HintedRetry;

impl ClassifyRetry for HintedRetry {
    fn classify_retry(&self, _context: &InterceptorContext) -> RetryAction {
        RetryAction::NoActionIndicated
    }

    fn classify_retry_v2(&self, context: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let (RetryAction::RetryIndicated(RetryReason::RetryableError { kind, .. }), Some(hint)) =
            (previous, context.response().and_then(retry_hint))
        else {
            return RetryAction::NoActionIndicated;
        };
        if hint > PATIENCE {
            RetryAction::RetryForbidden
        } else {
            RetryAction::retryable_error_with_explicit_delay(*kind, hint)
        }
    }

    fn name(&self) -> &'static str {
        "retry as hinted"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// Refuses to send anything in clear to another machine, wherever the endpoint came from: the environment and the
/// profile can name one too.
#[derive(Debug)]
pub(crate) struct NoPlaintext;

impl Intercept for NoPlaintext {
    fn name(&self) -> &'static str {
        "no plaintext"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match Endpoint::of(context.request().uri()) {
            Some(Endpoint { plain: true, local: false }) | None => Err(PlaintextRefused.into()),
            Some(_) => Ok(()),
        }
    }
}
