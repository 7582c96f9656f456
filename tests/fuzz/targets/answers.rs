//! What the SDK makes of a broker's answers: messages become leases or errors, refusals become errors, and no error holds a
//! value.

#![no_main]

use leasehold_client::{
    Error, IssuedLease, Lease, RenewedLease,
    proto::{self, IssueLeaseResponse, RenewLeaseResponse},
};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tonic::{Code, Status};

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = IssueLeaseResponse::decode(data) {
        let values: Vec<Vec<u8>> =
            message.value.iter().flat_map(|value| value.fields.values().cloned()).collect();
        match IssuedLease::try_from(message) {
            Ok(issued) => {
                let printed = format!("{issued:?}");
                assert!(values.iter().all(|value| !shows(&printed, value)), "a value is printed");
            }
            Err(error) => drop(error.to_string()),
        }
    }
    if let Ok(message) = RenewLeaseResponse::decode(data) {
        drop(RenewedLease::try_from(message));
    }
    if let Ok(message) = proto::Lease::decode(data) {
        drop(Lease::try_from(message));
    }
    if let Some((code, details)) = data.split_first() {
        let code = Code::from_i32(i32::from(*code));
        let error = Error::from(Status::with_details(code, "said the broker", details.to_vec().into()));
        assert!(!error.to_string().is_empty());
        assert!(error.reason().is_none_or(|reason| reason.len() <= data.len().max(24)));
        let _ = (error.retry_after(), error.provider(), error.request_id());
    }
});

/// Only what is long enough to be there for no other reason.
fn shows(printed: &str, value: &[u8]) -> bool {
    value.len() >= 24 && str::from_utf8(value).is_ok_and(|text| printed.contains(text))
}
