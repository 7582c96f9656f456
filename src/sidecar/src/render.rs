//! What is in each file: fields, whole secrets and templates, made of a snapshot. Pure; what it makes is wiped.
