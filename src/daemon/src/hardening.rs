//! What the process does to itself before it touches a secret.
