-- +goose Up
-- When units last polled, many to a row: see internal/device/roster.
CREATE TABLE device_seen (
  part INTEGER PRIMARY KEY,
  at   BIGINT NOT NULL,
  body BLOB NOT NULL
);

-- +goose Down
DROP TABLE device_seen;
