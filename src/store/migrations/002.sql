-- Version 2: what the E2B door keeps with a sandbox. created_ns tells apart what was made in one millisecond.
ALTER TABLE sandbox ADD COLUMN created_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandbox ADD COLUMN on_timeout INTEGER NOT NULL DEFAULT 0 CHECK (on_timeout BETWEEN 0 AND 2);
ALTER TABLE sandbox ADD COLUMN auto_resume INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandbox ADD COLUMN open_envd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandbox ADD COLUMN private_traffic INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandbox ADD COLUMN dialect TEXT;
UPDATE sandbox SET created_ns = created_ms * 1000000 + serial % 1000000;
