-- +goose Up
CREATE TABLE access_operator (
  id    TEXT PRIMARY KEY,
  place BIGINT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  role  TEXT NOT NULL
);
-- Of every secret only its SHA-256 is kept.
CREATE TABLE access_link (
  hash       TEXT PRIMARY KEY,
  role       TEXT NOT NULL,
  subject    TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE TABLE access_session (
  hash       TEXT PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  role       TEXT NOT NULL,
  subject    TEXT NOT NULL,
  agent      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX access_session_subject ON access_session (role, subject);
CREATE TABLE access_token (
  hash         TEXT PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  name         TEXT NOT NULL,
  scope        TEXT NOT NULL,
  operator_id  TEXT NOT NULL REFERENCES access_operator (id),
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE access_token;
DROP TABLE access_session;
DROP TABLE access_link;
DROP TABLE access_operator;
