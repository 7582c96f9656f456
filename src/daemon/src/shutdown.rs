//! The end, in order.
