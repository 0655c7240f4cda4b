-- The certificate authority in full.

-- keys -------------------------------------------------------------------------------------------

-- The subject key identifier of the issuing CA. Rows of before there were several get theirs at the
-- next start.
ALTER TABLE certificates ADD COLUMN issuer @BLOB@;
CREATE INDEX certificates_issuer ON certificates (issuer, not_after);
