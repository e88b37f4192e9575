-- +goose Up
-- What turns one image into another, by their hashes; from '': the image compressed alone.
CREATE TABLE update_delta (
  to_sha256   TEXT NOT NULL,
  from_sha256 TEXT NOT NULL,
  state       TEXT NOT NULL,
  sha256      TEXT NOT NULL,
  doc         TEXT NOT NULL,
  PRIMARY KEY (to_sha256, from_sha256)
);
CREATE INDEX update_delta_bytes ON update_delta (sha256);

-- +goose Down
DROP TABLE update_delta;
