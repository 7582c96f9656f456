# What the broker of config/examples/rotation-generate.toml needs of Vault to rotate:
#   vault policy write leasehold-rotation policy.hcl
# The file `vault-token` is what this writes, readable by the broker's user only:
#   vault token create -orphan -policy=leasehold-rotation -period=24h -field=token

# Its own token. Vault's policy `default` allows these too; without it they must be here.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }

# Reads, writes, and puts old versions away.
path "kv/data/payments/cookie-key" { capabilities = ["create", "read", "update"] }
path "kv/metadata/payments/cookie-key" { capabilities = ["read", "delete"] }
path "kv/delete/payments/cookie-key" { capabilities = ["update"] }
path "kv/undelete/payments/cookie-key" { capabilities = ["update"] }
path "kv/destroy/payments/cookie-key" { capabilities = ["update"] }
path "kv/data/payments/partner-password" { capabilities = ["create", "read", "update"] }
path "kv/metadata/payments/partner-password" { capabilities = ["read", "delete"] }
path "kv/delete/payments/partner-password" { capabilities = ["update"] }
path "kv/undelete/payments/partner-password" { capabilities = ["update"] }
path "kv/destroy/payments/partner-password" { capabilities = ["update"] }

# Makes values by the password policy.
path "sys/policies/password/partners/generate" { capabilities = ["read"] }
