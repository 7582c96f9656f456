//! HashiCorp Vault and OpenBao as a back end: KV secrets read and written, static roles of database engines read and
//! rotated, and credentials made by any engine that answers with a lease.
//!
//! The only crate that names `vaultrs`: its requests, its middleware and its answers, over a connection of our own that
//! follows no redirect to a stranger, keeps what an error says of itself, and repeats nothing that is not safe to repeat.

mod answer;
mod check;
mod config;
mod connection;
mod endpoint;
mod error;
mod handle;
mod issuer;
mod kv1;
mod kv2;
mod login;
mod provider;
mod reference;
mod role;
mod rotation;
mod server;
mod spare;
mod standing;
mod static_role;
mod token;
mod value;
mod written;

pub use config::{Auth, VaultConfig, VaultConfigFault};
pub use provider::VaultProvider;
pub use role::{InvalidRole, Method, VaultRole};

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used. A mount's `{rest}` stands
/// for any path, in the secret's path and not in that of the engine: else whoever asks would choose the engine.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), leasehold_core::provider::ProviderError> {
    reference::with_rest(text, |reference, rest| {
        if reference.mount.contains(rest) {
            return Err(reference::invalid("`{rest}` stands behind the engine's own path, not in it"));
        }
        if reference.engine == reference::Engine::Root && reference.path.contains(rest) {
            return Err(reference::invalid(
                "a database's own user is named whole, and `{rest}` stands for many",
            ));
        }
        Ok(())
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_does_not_let_the_caller_choose_the_engine() {
        for good in [
            "kv/data/a",
            "kv/data/{rest}",
            "kv/data/shared/{rest}/db",
            "kv1:old/{rest}",
            "database/static-creds/{rest}",
            "database/config/main",
        ] {
            assert!(check_reference(good).is_ok(), "{good}");
        }
        for bad in [
            "{rest}/data/a",
            "team/{rest}/data/a",
            "kv1:{rest}/a",
            "kv/{rest}",
            "{rest}",
            "database/config/{rest}",
        ] {
            assert!(check_reference(bad).is_err(), "{bad}");
        }
    }
}
