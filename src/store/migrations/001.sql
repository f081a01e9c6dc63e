-- Version 1: everything the gateway remembers. Times are milliseconds since 1970; 0 is none.
CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row a sandbox, from before the provider is asked to make it until long after its end.
CREATE TABLE sandbox (
    serial INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    name TEXT,
    runtime TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (@STATES@)),
    template TEXT NOT NULL,
    project_id TEXT,
    metadata TEXT NOT NULL,
    env TEXT NOT NULL,
    idem_scope TEXT,
    idem_key TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    lifetime INTEGER NOT NULL CHECK (lifetime BETWEEN 0 AND 2),
    lifetime_s INTEGER NOT NULL,
    cpu REAL NOT NULL,
    memory_mib INTEGER NOT NULL,
    disk_mib INTEGER NOT NULL,
    pids INTEGER NOT NULL,
    limits_hard INTEGER NOT NULL,
    internet INTEGER NOT NULL,
    reason TEXT NOT NULL,
    generation INTEGER NOT NULL,
    armed_ms INTEGER NOT NULL
);
-- A name belongs to one living sandbox.
CREATE UNIQUE INDEX sandbox_name ON sandbox (name) WHERE name IS NOT NULL AND state <> 'deleted';
CREATE INDEX sandbox_ended ON sandbox (updated_ms) WHERE state = 'deleted';

-- The journal of events, numbered without gaps; the oldest go when it is full.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    name TEXT NOT NULL,
    runtime TEXT NOT NULL,
    from_value TEXT NOT NULL,
    to_value TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- Requests with an Idempotency-Key: status 0 while the first one runs.
CREATE TABLE idem (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB,
    sandbox_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idem_created ON idem (created_ms);

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
) WITHOUT ROWID;
