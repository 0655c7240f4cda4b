-- Posture: what is known of devices, the rules, and what they came to.

-- Who holds a certificate, and a device: 1 an administrator, 2 posture, or both. One that nobody
-- holds is released.
ALTER TABLE certificates ADD COLUMN holders INTEGER NOT NULL DEFAULT 0;
UPDATE certificates SET holders = 1 WHERE status = 2;
ALTER TABLE ca_holds ADD COLUMN holders INTEGER NOT NULL DEFAULT 1;

CREATE TABLE posture_rules (
    name       TEXT PRIMARY KEY NOT NULL,
    body       TEXT NOT NULL,             -- JSON
    rev        BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- One row: it counts the changes of the rules, so that devices judged by older ones are found. The
-- stamp of the last change tells who holds them parsed whether they are the same still.
CREATE TABLE posture_state (
    id        BIGINT PRIMARY KEY NOT NULL,
    rules_rev BIGINT NOT NULL,
    stamp     TEXT NOT NULL
);
INSERT INTO posture_state (id, rules_rev, stamp) VALUES (1, 1, '');

CREATE TABLE posture_devices (
    serial       TEXT PRIMARY KEY NOT NULL,
    state        INTEGER NOT NULL,        -- 0 passing, 1 failing, 2 held, 3 revoked
    since        BIGINT NOT NULL,         -- in that state
    hold_at      BIGINT NOT NULL,         -- when it will be held and revoked; 0 for never
    revoke_at    BIGINT NOT NULL,
    exempt_until BIGINT NOT NULL,         -- nothing follows from rules before then
    asked_at     BIGINT NOT NULL,         -- when it was asked how it is
    judged_at    BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,         -- when to judge again
    rules_rev    BIGINT NOT NULL,         -- of the rules it was judged by
    restore      INTEGER NOT NULL         -- 1: its access identities are to be pushed again
);
CREATE INDEX posture_devices_due ON posture_devices (due_at, serial);
CREATE INDEX posture_devices_rules ON posture_devices (rules_rev, serial);
CREATE INDEX posture_devices_state ON posture_devices (state, serial);
CREATE INDEX posture_devices_restore ON posture_devices (serial) WHERE restore <> 0;

-- The newest value of each fact, by who said it.
CREATE TABLE posture_facts (
    serial TEXT NOT NULL,
    source INTEGER NOT NULL,              -- 0 attested, 1 reported, 2 external
    facts  TEXT NOT NULL,                 -- JSON: name -> [value, at, since]
    PRIMARY KEY (serial, source)
);

-- Devices that were asked for an attestation: what must be in it, and the command whose report has
-- one that is to be verified, '' for none.
CREATE TABLE posture_nonces (
    serial   TEXT PRIMARY KEY NOT NULL,
    nonce    @BLOB@ NOT NULL,
    asked_at BIGINT NOT NULL,
    command  TEXT NOT NULL
);
CREATE INDEX posture_nonces_came ON posture_nonces (serial) WHERE command <> '';

-- Rules a device does not satisfy; what has no row passes.
CREATE TABLE posture_verdicts (
    serial   TEXT NOT NULL,
    rule     TEXT NOT NULL,
    fact     TEXT NOT NULL,               -- what it was about
    verdict  INTEGER NOT NULL,            -- 1 fail, 2 unknown
    since    BIGINT NOT NULL,
    at       BIGINT NOT NULL,             -- of the last reading that counted
    readings BIGINT NOT NULL,             -- that failed, one behind the other
    PRIMARY KEY (serial, rule)
);
CREATE INDEX posture_verdicts_rule ON posture_verdicts (rule, serial);

INSERT INTO posture_devices (serial, state, since, hold_at, revoke_at, exempt_until, asked_at,
    judged_at, due_at, rules_rev, restore)
SELECT DISTINCT serial, 0, 0, 0, 0, 0, 0, 0, 9223372036854775807, 1, 0
FROM enrollments WHERE state = 'enrolled';
