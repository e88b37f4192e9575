-- +goose Up
-- Detectors tried on history; a job that waits or runs has no end.
CREATE TABLE condition_backtest (
  id       TEXT PRIMARY KEY,
  detector TEXT NOT NULL,
  at       BIGINT NOT NULL,
  state    TEXT NOT NULL,
  ended_at BIGINT NOT NULL,
  doc      TEXT NOT NULL,
  result   BYTEA
);
CREATE INDEX condition_backtest_newest ON condition_backtest (at, id);
CREATE INDEX condition_backtest_unended ON condition_backtest (at, id) WHERE ended_at = 0;

-- +goose Down
DROP TABLE condition_backtest;
