-- +goose Up
CREATE TABLE fleet_product (
  name TEXT PRIMARY KEY,
  doc  TEXT NOT NULL
);
CREATE TABLE fleet_owner (
  id        TEXT PRIMARY KEY,
  email     TEXT NOT NULL UNIQUE,
  name      TEXT NOT NULL,
  locale    TEXT NOT NULL,
  time_zone TEXT NOT NULL
);
CREATE TABLE fleet_unit (
  id         TEXT PRIMARY KEY,
  unit_key   BIGINT NOT NULL UNIQUE,
  product    TEXT NOT NULL REFERENCES fleet_product (name),
  serial     TEXT NOT NULL,
  hardware   TEXT NOT NULL,
  batch      TEXT NOT NULL,
  region     TEXT NOT NULL,
  attributes TEXT NOT NULL,
  versions   TEXT NOT NULL,
  version    TEXT NOT NULL,
  version_at BIGINT NOT NULL,
  owner_id   TEXT REFERENCES fleet_owner (id),
  state      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (product, serial)
);
CREATE INDEX fleet_unit_owner ON fleet_unit (owner_id);
CREATE INDEX fleet_unit_product ON fleet_unit (product, id);

-- +goose Down
DROP TABLE fleet_unit;
DROP TABLE fleet_owner;
DROP TABLE fleet_product;
