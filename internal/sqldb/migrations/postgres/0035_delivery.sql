-- +goose Up
ALTER TABLE notify_message ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN language TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN unit_id TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN about TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN html TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN link TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN acknowledge BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE notify_message ADD COLUMN state TEXT NOT NULL DEFAULT 'queued';
ALTER TABLE notify_message ADD COLUMN delivered_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE notify_message ADD COLUMN acked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE notify_message ADD COLUMN acked_via TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN remote_id TEXT NOT NULL DEFAULT '';
ALTER TABLE notify_message ADD COLUMN secret BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE notify_message ADD COLUMN urgency BIGINT NOT NULL DEFAULT 1;
UPDATE notify_message SET state = CASE WHEN sent_at > 0 THEN 'sent' WHEN next_at = 0 THEN 'failed' ELSE 'queued' END,
  secret = expires_at > 0,
  kind = CASE WHEN channel = 'webhook' OR owner_id = '' AND expires_at = 0 THEN 'operations' WHEN expires_at > 0 THEN 'account' ELSE 'service' END,
  urgency = CASE WHEN expires_at > 0 THEN 0 WHEN owner_id = '' THEN 1 ELSE 2 END;
DROP INDEX notify_message_due;
CREATE INDEX notify_message_due ON notify_message (channel, urgency, next_at) WHERE next_at > 0;
CREATE INDEX notify_message_about ON notify_message (about, id) WHERE about <> '';
CREATE INDEX notify_message_unread ON notify_message (id) WHERE acknowledge AND acked_at = 0;
CREATE INDEX notify_message_remote ON notify_message (remote_id) WHERE remote_id <> '';
CREATE INDEX notify_message_trouble ON notify_message (state, id) WHERE state NOT IN ('sent', 'delivered');
CREATE TABLE notify_delivery (
  message_id TEXT NOT NULL REFERENCES notify_message (id) ON DELETE CASCADE,
  attempt    BIGINT NOT NULL,
  result     TEXT NOT NULL,
  at         BIGINT NOT NULL,
  channel    TEXT NOT NULL,
  detail     TEXT NOT NULL,
  remote_id  TEXT NOT NULL,
  PRIMARY KEY (message_id, attempt, result)
);
CREATE TABLE notify_address (
  channel    TEXT NOT NULL,
  address    TEXT NOT NULL,
  state      TEXT NOT NULL,
  why        TEXT NOT NULL,
  since      BIGINT NOT NULL,
  message_id TEXT NOT NULL,
  owner_id   TEXT NOT NULL,
  PRIMARY KEY (channel, address)
);
CREATE INDEX notify_address_owner ON notify_address (owner_id);
CREATE TABLE notify_push (
  id         TEXT PRIMARY KEY,
  owner_id   TEXT NOT NULL,
  endpoint   TEXT NOT NULL UNIQUE,
  p256dh     TEXT NOT NULL,
  auth       TEXT NOT NULL,
  device     TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL
);
CREATE INDEX notify_push_owner ON notify_push (owner_id);
CREATE TABLE notify_endpoint (
  name       TEXT PRIMARY KEY,
  doc        TEXT NOT NULL,
  secrets    TEXT NOT NULL
);
CREATE TABLE notify_key (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- +goose Down
DROP TABLE notify_key;
DROP TABLE notify_endpoint;
DROP TABLE notify_push;
DROP TABLE notify_address;
DROP TABLE notify_delivery;
DROP INDEX notify_message_due;
DROP INDEX notify_message_about;
DROP INDEX notify_message_unread;
DROP INDEX notify_message_remote;
DROP INDEX notify_message_trouble;
ALTER TABLE notify_message DROP COLUMN kind;
ALTER TABLE notify_message DROP COLUMN language;
ALTER TABLE notify_message DROP COLUMN unit_id;
ALTER TABLE notify_message DROP COLUMN about;
ALTER TABLE notify_message DROP COLUMN html;
ALTER TABLE notify_message DROP COLUMN link;
ALTER TABLE notify_message DROP COLUMN acknowledge;
ALTER TABLE notify_message DROP COLUMN state;
ALTER TABLE notify_message DROP COLUMN delivered_at;
ALTER TABLE notify_message DROP COLUMN acked_at;
ALTER TABLE notify_message DROP COLUMN acked_via;
ALTER TABLE notify_message DROP COLUMN remote_id;
ALTER TABLE notify_message DROP COLUMN secret;
ALTER TABLE notify_message DROP COLUMN urgency;
CREATE INDEX notify_message_due ON notify_message (channel, next_at) WHERE next_at > 0;
