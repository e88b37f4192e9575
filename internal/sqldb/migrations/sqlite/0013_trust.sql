-- +goose Up
-- Signed metadata of the image and director repositories, as signed.
CREATE TABLE trust_metadata (
    repository TEXT NOT NULL,
    role       TEXT NOT NULL,
    version    BIGINT NOT NULL,
    at         BIGINT NOT NULL, -- ms
    body       BLOB NOT NULL,
    PRIMARY KEY (repository, role, version)
);
-- The server's own keys, sealed with a key in the data directory.
CREATE TABLE trust_key (
    name   TEXT NOT NULL,
    next   BIGINT NOT NULL, -- 1: used once a root names it
    sealed BLOB NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (name, next)
);
-- Products whose releases are offered only once they are signed.
CREATE TABLE trust_product (
    product TEXT NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    by_whom TEXT NOT NULL
);
-- Units that sign their version reports.
CREATE TABLE trust_reporter (
    unit_id  TEXT NOT NULL PRIMARY KEY,
    public   BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    report   BLOB NOT NULL
);
-- One row: all versions of director metadata given so far are below it.
CREATE TABLE trust_ceiling (
    one     BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);

-- +goose Down
DROP TABLE trust_ceiling;
DROP TABLE trust_reporter;
DROP TABLE trust_product;
DROP TABLE trust_key;
DROP TABLE trust_metadata;
