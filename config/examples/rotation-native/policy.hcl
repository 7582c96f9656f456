# What the broker of config/examples/rotation-native.toml needs of Vault, and no more:
#   vault policy write leasehold-rotation policy.hcl
# The file `vault-token` is what this writes, readable by the broker's user only:
#   vault token create -orphan -policy=leasehold-rotation -period=24h -field=token

# Its own token. Vault's policy `default` allows these too; without it they must be here.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }

# Reads the static role's user and password, and has Vault change the password.
path "database/static-creds/report" { capabilities = ["read"] }
path "database/rotate-role/report" { capabilities = ["update"] }

# Has Vault change the password of its own user in the database. Nothing reads it.
path "database/rotate-root/payments" { capabilities = ["update"] }
