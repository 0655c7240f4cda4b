-- What others are told: events, written in the transaction of what they tell of.

-- Who is told: endpoints that administrators registered. types is a list of words, '' for all.
CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    url        TEXT NOT NULL,
    types      TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    secret     @BLOB@ NOT NULL,           -- sealed
    rev        BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- How its deliveries go. Apart from the endpoint: each event reads who is to be told, each
-- delivery writes this.
CREATE TABLE webhook_states (
    id              TEXT PRIMARY KEY NOT NULL,
    lease           TEXT NOT NULL,        -- of the node that delivers now
    lease_until     BIGINT NOT NULL,
    next_at         BIGINT NOT NULL,      -- not before
    tries           BIGINT NOT NULL,      -- of the first event of its queue
    failing_since   BIGINT NOT NULL,      -- 0: it is not failing
    last_success_at BIGINT NOT NULL,
    last_error_at   BIGINT NOT NULL,
    last_error      TEXT NOT NULL,
    delivered       BIGINT NOT NULL,
    dropped         BIGINT NOT NULL
);

-- The same the other way round: who wants an event of this type. Rows of endpoints that are enabled.
CREATE TABLE outbox_types (
    type TEXT NOT NULL,
    sink TEXT NOT NULL,
    PRIMARY KEY (type, sink)
);
CREATE INDEX outbox_types_sink ON outbox_types (sink);

-- An event somebody wants. It stays for as long as events are kept.
CREATE TABLE outbox (
    seq         @ID@,
    id          TEXT NOT NULL UNIQUE,
    at          BIGINT NOT NULL,
    txn         TEXT NOT NULL,            -- ties the events of one change together, and its audit rows
    type        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    device      TEXT NOT NULL,            -- its serial number, or ''
    certificate TEXT NOT NULL,            -- likewise, in hexadecimal
    data        TEXT NOT NULL             -- a JSON object
);
CREATE INDEX outbox_at ON outbox (at, seq);

-- What is still to be delivered, and to whom. seq is that of the event.
CREATE TABLE outbox_queue (
    sink  TEXT NOT NULL,
    event TEXT NOT NULL,
    seq   BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (event, sink)
);
CREATE INDEX outbox_queue_order ON outbox_queue (sink, seq);
CREATE INDEX outbox_queue_seq ON outbox_queue (seq);
