-- One text for both engines. @ID@ is a key that only grows, @BLOB@ bytes; times are seconds UTC.

CREATE TABLE inv_devices (
    serial     TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    model      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    source     TEXT NOT NULL,             -- who says so: "api", "csv", later a sync
    rev        BIGINT NOT NULL,           -- ETag
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE invitations (
    id         TEXT PRIMARY KEY NOT NULL,
    token_hash @BLOB@ NOT NULL UNIQUE,    -- SHA-256 of the token in the link
    serial     TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX invitations_serial ON invitations (serial);
CREATE INDEX invitations_expiry ON invitations (expires_at);

-- One-time ClientIdentifiers: free (order_id null), claimed by one order, consumed at issuance.
CREATE TABLE client_ids (
    hash        @BLOB@ PRIMARY KEY NOT NULL,  -- SHA-256 of the identifier
    serial      TEXT NOT NULL,
    profile     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    order_id    TEXT,
    consumed_at BIGINT
);
CREATE INDEX client_ids_serial ON client_ids (serial);
CREATE INDEX client_ids_order ON client_ids (order_id);
CREATE INDEX client_ids_expiry ON client_ids (expires_at);

CREATE TABLE acme_accounts (
    id         TEXT PRIMARY KEY NOT NULL,
    thumbprint @BLOB@ NOT NULL UNIQUE,    -- RFC 7638, SHA-256
    jwk        TEXT NOT NULL,             -- canonical form
    status     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX acme_accounts_created ON acme_accounts (created_at);

-- One identifier, so one authorization and one challenge: they live in the order's row.
CREATE TABLE acme_orders (
    id           TEXT PRIMARY KEY NOT NULL,
    account_id   TEXT NOT NULL,
    profile      TEXT NOT NULL,
    identifier   TEXT NOT NULL,           -- as the client sent it, echoed
    serial       TEXT NOT NULL,           -- the device the server bound it to
    status       TEXT NOT NULL,           -- pending ready processing valid invalid
    authz_status TEXT NOT NULL,           -- pending valid invalid
    chal_status  TEXT NOT NULL,           -- pending valid invalid
    token        TEXT NOT NULL,
    error        TEXT,                    -- problem document of a refused challenge
    validated_at BIGINT,
    spki_sha256  @BLOB@,                  -- the attested key
    evidence_id  TEXT,
    cert_serial  @BLOB@,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX acme_orders_account ON acme_orders (account_id, created_at);
CREATE INDEX acme_orders_expiry ON acme_orders (expires_at);

-- What a device proved, kept as it came. One attested key serves one order, ever.
CREATE TABLE evidence (
    id          TEXT PRIMARY KEY NOT NULL,
    serial      TEXT NOT NULL,
    format      TEXT NOT NULL,
    spki_sha256 @BLOB@ NOT NULL UNIQUE,
    sha256      @BLOB@ NOT NULL,          -- of the attestation object
    leaf        @BLOB@ NOT NULL,
    chain       @BLOB@ NOT NULL,          -- the other certificates, concatenated DER
    facts       TEXT NOT NULL,            -- JSON
    created_at  BIGINT NOT NULL
);
CREATE INDEX evidence_serial ON evidence (serial, created_at);

CREATE TABLE certificates (
    serial        @BLOB@ PRIMARY KEY NOT NULL,
    device_serial TEXT NOT NULL,
    profile       TEXT NOT NULL,
    purpose       TEXT NOT NULL,          -- management or access
    sha256        @BLOB@ NOT NULL UNIQUE, -- of the whole certificate
    spki_sha256   @BLOB@ NOT NULL,
    der           @BLOB@ NOT NULL,
    not_before    BIGINT NOT NULL,
    not_after     BIGINT NOT NULL,
    status        INTEGER NOT NULL,       -- 0 good, 1 revoked
    revoked_at    BIGINT,
    reason        INTEGER,                -- RFC 5280 CRLReason
    order_id      TEXT,
    evidence_id   TEXT,
    created_at    BIGINT NOT NULL
);
CREATE INDEX certificates_device ON certificates (device_serial, status);

-- Every proof of identity that was tried, with our reason and the device's own words.
CREATE TABLE attempts (
    id           @ID@,
    serial       TEXT NOT NULL,           -- '' when no listed device could be told
    at           BIGINT NOT NULL,
    source       TEXT NOT NULL,           -- acme enroll checkin connect
    outcome      TEXT NOT NULL,           -- issued accepted refused
    reason       TEXT NOT NULL,           -- code, '' when not refused
    detail       TEXT NOT NULL,
    device_error TEXT NOT NULL,           -- Apple's `error`
    order_id     TEXT NOT NULL,
    peer         TEXT NOT NULL
);
CREATE INDEX attempts_serial ON attempts (serial, id);
CREATE INDEX attempts_at ON attempts (at);

CREATE TABLE enrollments (
    id               TEXT PRIMARY KEY NOT NULL, -- UDID, later EnrollmentID
    serial           TEXT NOT NULL,
    cert_sha256      @BLOB@ NOT NULL UNIQUE,
    state            TEXT NOT NULL,       -- authenticated enrolled leaving removed
    topic            TEXT NOT NULL,
    push_magic       TEXT,
    push_token       @BLOB@,
    unlock_token     @BLOB@,
    awaiting         INTEGER NOT NULL,    -- AwaitingConfiguration
    tally            BIGINT NOT NULL,     -- TokenUpdates since Authenticate
    device_name      TEXT NOT NULL,
    model            TEXT NOT NULL,
    product          TEXT NOT NULL,
    os_version       TEXT NOT NULL,
    build            TEXT NOT NULL,
    authenticate     @BLOB@ NOT NULL,     -- raw messages, for migration
    token_update     @BLOB@,
    authenticated_at BIGINT NOT NULL,
    enrolled_at      BIGINT,
    left_at          BIGINT,
    last_seen_at     BIGINT NOT NULL
);
CREATE INDEX enrollments_serial ON enrollments (serial);

CREATE TABLE commands (
    seq           @ID@,
    uuid          TEXT NOT NULL UNIQUE,
    enrollment_id TEXT NOT NULL,
    request_type  TEXT NOT NULL,
    body          @BLOB@ NOT NULL,        -- XML plist
    state         TEXT NOT NULL,          -- queued sent notnow acknowledged error cancelled
    status        TEXT,                   -- the device's last Status, verbatim
    notnow_count  BIGINT NOT NULL,
    result        @BLOB@,                 -- the report as it came
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    sent_at       BIGINT,
    done_at       BIGINT
);
CREATE INDEX commands_queue ON commands (enrollment_id, state, seq);
CREATE INDEX commands_done ON commands (done_at);

-- Pushes wanted; a row goes once the push service took it. One row a device: coalesced.
CREATE TABLE push_outbox (
    enrollment_id TEXT PRIMARY KEY NOT NULL,
    requested_at  BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       @BLOB@ NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE audit (
    id      @ID@,
    at      BIGINT NOT NULL,
    txn     TEXT NOT NULL,                -- ties the rows of one change together
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,                -- "inventory.delete"
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);
