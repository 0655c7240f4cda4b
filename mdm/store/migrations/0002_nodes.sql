-- Several nodes on one database.

-- ACME nonces used: the second of the issue in the upper half, so that they lie in its order.
CREATE TABLE acme_nonces (
    nonce BIGINT PRIMARY KEY NOT NULL
);

-- One row: what the nodes seal nonces with, and how many nodes ever started.
CREATE TABLE acme_nonce_keys (
    id    BIGINT PRIMARY KEY NOT NULL,
    keys  @BLOB@ NOT NULL,
    nodes BIGINT NOT NULL
);

-- growth: what the cleaners walk and the lists sort by. Behind the time stands the key, so that a
-- page ends between two rows also where many have one time.
CREATE INDEX audit_at ON audit (at, id);
DROP INDEX attempts_at;
CREATE INDEX attempts_at ON attempts (at, id);
DROP INDEX invitations_expiry;
CREATE INDEX invitations_expiry ON invitations (expires_at, id);
DROP INDEX client_ids_expiry;
CREATE INDEX client_ids_expiry ON client_ids (expires_at, hash);
DROP INDEX acme_orders_expiry;
CREATE INDEX acme_orders_expiry ON acme_orders (expires_at, id);
CREATE INDEX api_tokens_expiry ON api_tokens (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX certificates_expiry ON certificates (not_after, serial);
CREATE INDEX certificates_evidence ON certificates (evidence_id);
CREATE INDEX evidence_created ON evidence (created_at, id);
CREATE INDEX push_due ON push_outbox (requested_at, enrollment_id);
DROP INDEX acme_accounts_created;
CREATE INDEX acme_accounts_created ON acme_accounts (created_at, id);
DROP INDEX acme_orders_account;
CREATE INDEX acme_orders_account ON acme_orders (account_id, created_at, id);
DROP INDEX enrollments_serial;
CREATE INDEX enrollments_newest ON enrollments (serial, authenticated_at DESC, id);
CREATE INDEX enrollments_left ON enrollments (left_at, id) WHERE left_at IS NOT NULL;
-- a command stands in one of the two
DROP INDEX commands_done;
CREATE INDEX commands_done ON commands (done_at, seq) WHERE done_at IS NOT NULL;
CREATE INDEX commands_waiting ON commands (created_at, seq) WHERE done_at IS NULL;
