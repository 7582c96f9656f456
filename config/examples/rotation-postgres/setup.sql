-- What the broker needs on a PostgreSQL server to rotate the passwords of users, and no more. Run it as a superuser.
-- A test runs it and does everything with it that the examples rotation-single.toml, rotation-alternating.toml and
-- rotation-administrator.toml ask for.

-- The broker's own user. Give it a password by hand: \password leasehold
-- It goes into the file `pg-password`; for rotation-administrator.toml, into a secret, with its user:
--   leasehold secret put infra/pg/admin --field username=@user --field password=@password
CREATE ROLE leasehold LOGIN CREATEROLE CONNECTION LIMIT 20;

-- What the application may do is this role's, so that its two users are the same to everything but the login.
CREATE ROLE payments_app NOLOGIN;
GRANT payments_app TO leasehold WITH ADMIN OPTION;

-- The two users of rotation-alternating.toml. They need no password: the first rotation gives them one.
CREATE ROLE payments_a LOGIN IN ROLE payments_app;
CREATE ROLE payments_b LOGIN IN ROLE payments_app;

-- What they make is to be the application's, whichever of them makes it.
ALTER ROLE payments_a SET role = 'payments_app';
ALTER ROLE payments_b SET role = 'payments_app';

-- The one user of rotation-single.toml.
CREATE ROLE payments_report LOGIN;

-- From PostgreSQL 16 on, to be allowed to make roles is not to be allowed to change those of others.
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE 'GRANT payments_a, payments_b, payments_report TO leasehold WITH ADMIN TRUE, INHERIT FALSE, SET FALSE';
  END IF;
END $$;
