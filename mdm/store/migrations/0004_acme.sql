-- Sealed secrets, and what ACME lacked.

-- Ids of the keys (mdm/crypt/seal.h) that secrets in this database may be sealed with: a node whose
-- key file lacks one does not start.
CREATE TABLE seal_keys (
    id @BLOB@ PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);

-- What is to be sealed anew when the key changes.
CREATE INDEX eab_keys_secret ON eab_keys (id) WHERE secret IS NOT NULL;
