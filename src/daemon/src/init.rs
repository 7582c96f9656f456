//! `leaseholdd init`: the seal key and the state directory.
