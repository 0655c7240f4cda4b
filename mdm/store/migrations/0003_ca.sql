-- The certificate authority in full.

-- keys -------------------------------------------------------------------------------------------

-- The subject key identifier of the issuing CA. Rows of before there were several get theirs at the
-- next start.
ALTER TABLE certificates ADD COLUMN issuer @BLOB@;
CREATE INDEX certificates_issuer ON certificates (issuer, not_after);

-- acme -------------------------------------------------------------------------------------------

-- Accounts that live on (contact, key change, external binding), orders that name what they
-- replace. keep_until is the time behind which the cleaner may take the row.
ALTER TABLE acme_accounts ADD COLUMN contact TEXT NOT NULL DEFAULT '[]';
ALTER TABLE acme_accounts ADD COLUMN terms_agreed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE acme_accounts ADD COLUMN eab_key TEXT;
ALTER TABLE acme_accounts ADD COLUMN slot BIGINT;
ALTER TABLE acme_accounts ADD COLUMN keep_until BIGINT NOT NULL DEFAULT 0;
UPDATE acme_accounts SET keep_until = created_at + 2678400;
DROP INDEX acme_accounts_created;
CREATE INDEX acme_accounts_keep ON acme_accounts (keep_until, id);
CREATE UNIQUE INDEX acme_accounts_slot ON acme_accounts (slot) WHERE slot IS NOT NULL;
ALTER TABLE acme_orders ADD COLUMN id_type TEXT NOT NULL DEFAULT 'permanent-identifier';
ALTER TABLE acme_orders ADD COLUMN replaces TEXT;
ALTER TABLE acme_orders ADD COLUMN keep_until BIGINT NOT NULL DEFAULT 0;
UPDATE acme_orders SET keep_until = expires_at;
DROP INDEX acme_orders_expiry;
CREATE INDEX acme_orders_keep ON acme_orders (keep_until, id);
CREATE INDEX acme_orders_serial ON acme_orders (serial, created_at);
CREATE INDEX acme_orders_replaces ON acme_orders (replaces) WHERE replaces IS NOT NULL;

-- Keys for external account binding (RFC 8555 section 7.3.4). The secret is there from the
-- making of the key until it binds an account, is revoked or expires; a key binds one account.
CREATE TABLE eab_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    profile    TEXT NOT NULL,             -- the only certificate profile it is for, '' for any
    secret     @BLOB@,
    account_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    bound_at   BIGINT,
    revoked_at BIGINT,
    keep_until BIGINT NOT NULL
);
CREATE INDEX eab_keys_keep ON eab_keys (keep_until, id);

-- status -----------------------------------------------------------------------------------------

-- certificates.status: 0 good, 1 revoked, 2 on hold. rev counts its changes (ETag). shard is the
-- part of its CA's CRL that its distribution point names.
ALTER TABLE certificates ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN rev BIGINT NOT NULL DEFAULT 0;
CREATE INDEX certificates_status ON certificates (status, serial);
-- What a CRL lists, and no more: found without a look at the certificates that are good.
CREATE INDEX certificates_listed ON certificates (issuer, shard, not_after) WHERE status <> 0;

-- Devices whose access certificates are on hold, those that they get meanwhile too.
CREATE TABLE ca_holds (
    device_serial TEXT PRIMARY KEY NOT NULL,
    at            BIGINT NOT NULL
);

-- How often the status of a certificate of this part changed: a CRL made for another number is old.
CREATE TABLE crl_changes (
    issuer  @BLOB@ NOT NULL,
    shard   INTEGER NOT NULL,
    changes BIGINT NOT NULL,
    PRIMARY KEY (issuer, shard)
);

-- The CRLs as they are published, the same bytes on every node; shard -1 is the complete one.
CREATE TABLE crls (
    issuer      @BLOB@ NOT NULL,
    shard       INTEGER NOT NULL,
    number      BIGINT NOT NULL,           -- CRLNumber
    changes     BIGINT NOT NULL,           -- of crl_changes, what it was made for
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    der         @BLOB@ NOT NULL,
    PRIMARY KEY (issuer, shard)
);

-- profiles ---------------------------------------------------------------------------------------

-- Who may have a certificate of a profile; what is in it stands in the CA directory.
CREATE TABLE cert_profiles (
    name         TEXT PRIMARY KEY NOT NULL,
    enabled      INTEGER NOT NULL,
    eab_required INTEGER NOT NULL,
    dev_groups   TEXT NOT NULL,           -- words separated by a blank, '' for any
    platforms    TEXT NOT NULL,
    min_os       TEXT NOT NULL,           -- "ios=17.4 macos=14.6"
    rev          BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);

-- Device groups: the text is what a device has (words separated by a blank), the rows are the same
-- the other way round. A device that leaves takes its rows along.
ALTER TABLE inv_devices ADD COLUMN dev_groups TEXT NOT NULL DEFAULT '';
CREATE TABLE inv_device_groups (
    serial TEXT NOT NULL,
    grp    TEXT NOT NULL,
    PRIMARY KEY (serial, grp)
);
CREATE INDEX inv_device_groups_grp ON inv_device_groups (grp, serial);

-- Renewal. renew_at is null when nothing is to be done; renews is the certificate (its serial
-- number) that this one takes the place of; retire_at is when a replaced one is revoked.
ALTER TABLE certificates ADD COLUMN renew_at BIGINT;
ALTER TABLE certificates ADD COLUMN renew_tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN renew_command TEXT;
ALTER TABLE certificates ADD COLUMN renews @BLOB@;
ALTER TABLE certificates ADD COLUMN retire_at BIGINT;
CREATE INDEX certificates_renew ON certificates (renew_at);
CREATE INDEX certificates_retire ON certificates (retire_at);
ALTER TABLE client_ids ADD COLUMN renews @BLOB@;

-- Access identities that administrators gave to devices, pushed anew when they are to be renewed.
CREATE TABLE access_profiles (
    serial       TEXT NOT NULL,
    profile      TEXT NOT NULL,           -- certificate profile
    wifi_ssid    TEXT NOT NULL,           -- '' for the identity alone
    wifi_servers TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (serial, profile)
);
