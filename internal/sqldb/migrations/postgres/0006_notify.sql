-- +goose Up
CREATE TABLE notify_message (
  id         TEXT PRIMARY KEY,
  msg_key    TEXT NOT NULL UNIQUE,
  channel    TEXT NOT NULL,
  recipient  TEXT NOT NULL,
  owner_id   TEXT NOT NULL,
  subject    TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  sent_at    BIGINT NOT NULL,
  attempts   BIGINT NOT NULL,
  last_error TEXT NOT NULL,
  next_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX notify_message_due ON notify_message (channel, next_at) WHERE next_at > 0;
CREATE INDEX notify_message_owner ON notify_message (owner_id, created_at);
CREATE TABLE notify_route (
  name TEXT PRIMARY KEY,
  doc  TEXT NOT NULL
);
CREATE TABLE notify_news (
  finding_id  TEXT NOT NULL,
  route       TEXT NOT NULL,
  product     TEXT NOT NULL,
  detector    TEXT NOT NULL,
  severity    TEXT NOT NULL,
  unit_id     TEXT NOT NULL,
  why         TEXT NOT NULL,
  opened_at   BIGINT NOT NULL,
  added_at    BIGINT NOT NULL,
  message_key TEXT NOT NULL,
  PRIMARY KEY (finding_id, route)
);
CREATE INDEX notify_news_untold ON notify_news (added_at) WHERE message_key = '';

-- +goose Down
DROP TABLE notify_news;
DROP TABLE notify_route;
DROP TABLE notify_message;
