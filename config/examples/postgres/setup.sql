-- What the broker needs on a PostgreSQL server, and no more. Run it as a superuser in the database that the application
-- uses, and then give the broker's user a password: \password leasehold
-- A test runs it and does everything with it that config/examples/postgres.toml asks for.

-- The broker's own user: it may make users, and nothing else.
CREATE ROLE leasehold LOGIN CREATEROLE CONNECTION LIMIT 20;

-- What users are members of. The broker's privileges are these roles' only by the right to grant them: from PostgreSQL 16
-- on, `WITH ADMIN TRUE, INHERIT FALSE, SET FALSE` gives it just that.
CREATE ROLE payments_read NOLOGIN;
GRANT payments_read TO leasehold WITH ADMIN OPTION;

-- Who owns what the users of `payments-migrate` make, when they are gone. The broker must be a member to give it anything.
CREATE ROLE payments_owner NOLOGIN;
GRANT payments_owner TO leasehold WITH ADMIN OPTION;

-- What the application lets these roles do is the application's; for example:
--   GRANT USAGE ON SCHEMA payments TO payments_read;
--   GRANT SELECT ON ALL TABLES IN SCHEMA payments TO payments_read;
--   ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA payments GRANT SELECT ON TABLES TO payments_read;
