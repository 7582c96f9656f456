//! What a peer is told when a request or a stream of it ends for reasons of the connection's own.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::tls::Distrust;

/// Why a connection is being ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// The listener is stopping.
    Stopping,
    /// The peer is no longer trusted.
    Distrusted(Distrust),
    /// Nothing was asked for long.
    Idle,
    /// Connections are scarce, and the principal has more than its share.
    Displaced,
}

/// The domain of our reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "leasehold.dev";

impl Ending {
    /// The gRPC status of a stream that ends with the connection.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Stopping => {
                status(Code::Unavailable, "the broker is stopping: connect again", "BROKER_STOPPING")
            }
            Self::Distrusted(why) => distrust_status(why),
            Self::Idle => {
                status(Code::Unavailable, "the connection was idle: connect again", "CONNECTION_IDLE")
            }
            Self::Displaced => status(
                Code::Unavailable,
                "connections are scarce and this principal had more than its share: connect again, with fewer",
                "CONNECTION_DISPLACED",
            ),
        }
    }

    /// The same as a stream's trailers.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(4);
        if self.status().add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
        }
        trailers
    }
}

/// The whole answer to a request of a peer that is no longer trusted.
pub(crate) fn distrusted<B: Default>(why: &Distrust) -> Response<B> {
    distrust_status(why).into_http()
}

fn distrust_status(why: &Distrust) -> Status {
    status(Code::Unauthenticated, &why.to_string(), why.reason())
}

fn status(code: Code, message: &str, reason: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()))
}
