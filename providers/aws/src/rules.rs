//! The broker's own rules for the SDK's calls: when it asks again, that it sends nothing in clear, and how much it takes in.

use std::time::Duration;

use aws_sdk_secretsmanager::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
            InterceptorContext,
        },
        retry::{ClassifyRetry, RetryAction},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::retries::classifiers::{RetryClassifierPriority, RetryReason};

use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use leasehold_endpoint::Endpoint;

use crate::error::{PlaintextRefused, retry_hint};

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
            Some(endpoint) if !endpoint.exposes() => Ok(()),
            _ => Err(PlaintextRefused.into()),
        }
    }
}

/// Takes in no answer that is larger than any that AWS documents.
#[derive(Debug)]
pub(crate) struct Bounded;

/// The largest is a page of a parameter's history: 50 values of 8 KiB, each byte of which JSON may write as six.
const MAX_ANSWER: usize = 4 << 20;

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "bounded answers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, MAX_ANSWER));
        Ok(())
    }
}
