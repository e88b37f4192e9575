-- +goose Up
-- The log of an update client about one assignment; the last one counts.
CREATE TABLE update_log (
  assignment_id BIGINT PRIMARY KEY,
  at            BIGINT NOT NULL,
  doc           TEXT NOT NULL
);

-- +goose Down
DROP TABLE update_log;
