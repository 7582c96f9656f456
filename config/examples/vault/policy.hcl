# What the broker of config/examples/vault.toml needs, and no more. It goes into the broker's namespace:
#   vault policy write leasehold policy.hcl

# Its own token. Vault's policy `default` allows these too; without it they must be here.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }

# Reads and writes [[secret]] prod/payments/stripe and [[mount]] prod/shared/. Without `writable`, "read" is enough.
path "kv/data/payments/stripe" { capabilities = ["create", "read", "update"] }
path "kv/data/shared/*" { capabilities = ["create", "read", "update"] }

# Lists versions, deletes and restores, destroys. Without `writable`, "read" of kv/metadata is enough, for the lists.
path "kv/metadata/payments/stripe" { capabilities = ["read", "delete"] }
path "kv/delete/payments/stripe" { capabilities = ["update"] }
path "kv/undelete/payments/stripe" { capabilities = ["update"] }
path "kv/destroy/payments/stripe" { capabilities = ["update"] }
path "kv/metadata/shared/*" { capabilities = ["read", "delete"] }
path "kv/delete/shared/*" { capabilities = ["update"] }
path "kv/undelete/shared/*" { capabilities = ["update"] }
path "kv/destroy/shared/*" { capabilities = ["update"] }

# [[role]] payments-db: makes database users, extends them, and ends them.
path "database/creds/payments" { capabilities = ["read"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }

# Each credential hangs on a token of its own, by which it is ended even if Vault's answer was lost. With `token_role` the
# first path is auth/token/create/ROLE.
path "auth/token/create-orphan" { capabilities = ["update"] }
path "auth/token/renew-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# [[role]] web-certificate: issues certificates and revokes them.
path "pki/issue/web" { capabilities = ["update"] }
path "pki/revoke" { capabilities = ["update"] }
