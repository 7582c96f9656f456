//! Rotations over a ledger in memory, a back end and a target that say what they hold, and a process that can die anywhere.

mod crashes;
mod kit;
mod natively;
mod people;
mod races;
mod setbacks;
mod strategies;
