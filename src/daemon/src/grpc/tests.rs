//! The services called through their generated clients, over an engine whose ledger is in memory.

mod audit;
mod health;
mod holds;
mod kit;
mod leases;
mod limits;
mod operators;
mod revocations;
mod rotations;
mod standard;
mod watch_secret;
