//! The broker's name for each call, which whoever is refused is told (`google.rpc.RequestInfo`) and by which the audit log
//! has the denial or the failure, in `details.call`.

use http::Response;
use leasehold_core::CallId;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The answer; one that is an error from its beginning says in which call it was.
pub(super) fn told<B>(mut response: Response<B>, call: Option<CallId>) -> Response<B> {
    let Some(call) = call else { return response };
    // An error that comes before any message has its status in the headers (gRPC: Trailers-Only).
    let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok)
    else {
        return response;
    };
    let named = of_status(&status, call);
    // The headers are those of the status already: only the details are others.
    let _ = named.add_header(response.headers_mut());
    response
}

/// The status with the call's name among its details.
fn of_status(status: &Status, call: CallId) -> Status {
    let mut details: ErrorDetails = status.get_error_details();
    details.set_request_info(call.to_string(), "");
    Status::with_error_details(status.code(), status.message(), details)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    #[test]
    fn an_error_says_in_which_call_it_was_and_keeps_what_it_said() {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "QUOTA_EXCEEDED",
            "leasehold.dev",
            HashMap::from([("limit".into(), "x".into())]),
        );
        details.set_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Code::ResourceExhausted, "a \u{e9}", details);
        let call = CallId::from_bits([1; 16]);
        let answered: Response<()> = told(status.into_http(), Some(call));
        let told = Status::from_header_map(answered.headers()).unwrap();
        assert_eq!((told.code(), told.message()), (Code::ResourceExhausted, "a \u{e9}"));
        let info = told.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["limit"].as_str()), ("QUOTA_EXCEEDED", "x"));
        assert_eq!(told.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert_eq!(told.get_details_request_info().unwrap().request_id, call.to_string());
        assert_eq!(answered.headers().get_all("grpc-status-details-bin").iter().count(), 1);
    }

    #[test]
    fn an_answer_that_is_none_stays_as_it_is() {
        let answered = told(Response::new(()), Some(CallId::from_bits([1; 16])));
        assert!(answered.headers().is_empty());
    }
}
