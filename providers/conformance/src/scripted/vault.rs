//! What Vault and OpenBao answer when no server can be brought to it on demand, written from their public API
//! documentation: <https://openbao.org/api-docs/>, <https://developer.hashicorp.com/vault/api-docs>.
