//! The listener on loopback, met by raw clients.

mod limits;
mod negatives;
mod standing;
mod world;
