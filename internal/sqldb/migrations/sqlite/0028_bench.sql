-- +goose Up
-- What tools written for hawkBit work with. A setting's and a token's document
-- is sealed; numbers are given once.
CREATE TABLE update_bench (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  nr   BIGINT NOT NULL,
  doc  BLOB NOT NULL,
  PRIMARY KEY (kind, name)
);
CREATE TABLE update_bench_next (
  kind TEXT PRIMARY KEY,
  nr   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE update_bench_next;
DROP TABLE update_bench;
