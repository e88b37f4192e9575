-- +goose Up
CREATE TABLE notify_template (
  name     TEXT PRIMARY KEY,
  text     TEXT NOT NULL,
  doc      TEXT NOT NULL
);
CREATE INDEX notify_template_text ON notify_template (text);
CREATE TABLE notify_ladder (
  name TEXT PRIMARY KEY,
  doc  TEXT NOT NULL
);
-- How owners can be reached beside the mail address that they sign in with.
CREATE TABLE notify_contact (
  owner_id TEXT PRIMARY KEY REFERENCES fleet_owner (id) ON DELETE CASCADE,
  doc      TEXT NOT NULL
);
-- What owners were told, will be or were not, with the reason.
CREATE TABLE notify_notice (
  id         TEXT PRIMARY KEY,
  notice_key TEXT NOT NULL UNIQUE,
  owner_id   TEXT NOT NULL REFERENCES fleet_owner (id) ON DELETE CASCADE,
  unit_id    TEXT NOT NULL,
  kind       TEXT NOT NULL,
  about      TEXT NOT NULL,
  verdict    TEXT NOT NULL,
  due_at     BIGINT NOT NULL,
  told_at    BIGINT NOT NULL,
  read_at    BIGINT NOT NULL,
  acked_at   BIGINT NOT NULL,
  part       BOOLEAN NOT NULL,
  doc        TEXT NOT NULL
);
CREATE INDEX notify_notice_owner ON notify_notice (owner_id, id);
CREATE INDEX notify_notice_told ON notify_notice (owner_id, told_at) WHERE told_at > 0;
CREATE INDEX notify_notice_due ON notify_notice (due_at) WHERE due_at > 0;
CREATE INDEX notify_notice_about ON notify_notice (about, id) WHERE about <> '';
-- Owners on their way up a ladder.
CREATE TABLE notify_climb (
  id          TEXT PRIMARY KEY,
  climb_key   TEXT NOT NULL UNIQUE,
  owner_id    TEXT NOT NULL REFERENCES fleet_owner (id) ON DELETE CASCADE,
  unit_id     TEXT NOT NULL,
  campaign    TEXT NOT NULL,
  state       TEXT NOT NULL,
  step        BIGINT NOT NULL,
  next_at     BIGINT NOT NULL,
  message_key TEXT NOT NULL,
  doc         TEXT NOT NULL
);
CREATE INDEX notify_climb_due ON notify_climb (next_at) WHERE next_at > 0;
CREATE INDEX notify_climb_message ON notify_climb (message_key) WHERE message_key <> '';
CREATE INDEX notify_climb_campaign ON notify_climb (campaign, state, step);
CREATE INDEX notify_climb_owner ON notify_climb (owner_id);
-- Letters and calls are messages that people work off.
CREATE TABLE notify_batch (
  id         TEXT PRIMARY KEY,
  sent_at    BIGINT NOT NULL,
  doc        TEXT NOT NULL
);
CREATE TABLE notify_letter (
  message_id  TEXT PRIMARY KEY REFERENCES notify_message (id) ON DELETE CASCADE,
  state       TEXT NOT NULL DEFAULT 'waiting',
  why         TEXT NOT NULL DEFAULT '',
  batch_id    TEXT NOT NULL DEFAULT '',
  recipient   TEXT NOT NULL DEFAULT '',
  sent_at     BIGINT NOT NULL DEFAULT 0,
  returned_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notify_letter_state ON notify_letter (state, message_id);
CREATE INDEX notify_letter_batch ON notify_letter (batch_id, message_id) WHERE batch_id <> '';
CREATE TABLE notify_call (
  message_id   TEXT PRIMARY KEY REFERENCES notify_message (id) ON DELETE CASCADE,
  state        TEXT NOT NULL DEFAULT 'open',
  due_at       BIGINT NOT NULL,
  tries        BIGINT NOT NULL DEFAULT 0,
  outcome      TEXT NOT NULL DEFAULT '',
  tried_at     BIGINT NOT NULL DEFAULT 0,
  locked_by    TEXT NOT NULL DEFAULT '',
  locked_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notify_call_due ON notify_call (state, due_at, message_id);
CREATE TABLE notify_call_note (
  message_id TEXT NOT NULL REFERENCES notify_message (id) ON DELETE CASCADE,
  at         BIGINT NOT NULL,
  agent      TEXT NOT NULL,
  outcome    TEXT NOT NULL,
  sealed     BLOB NOT NULL
);
CREATE INDEX notify_call_note_message ON notify_call_note (message_id, at);
-- +goose StatementBegin
CREATE TRIGGER notify_message_letter AFTER INSERT ON notify_message WHEN NEW.channel = 'letter'
BEGIN
  INSERT INTO notify_letter (message_id) VALUES (NEW.id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER notify_message_call AFTER INSERT ON notify_message WHEN NEW.channel = 'call'
BEGIN
  INSERT INTO notify_call (message_id, due_at) VALUES (NEW.id, NEW.created_at);
END;
-- +goose StatementEnd
-- A climb whose last message has bounced or is acknowledged goes on at once.
-- +goose StatementBegin
CREATE TRIGGER notify_message_heard AFTER UPDATE OF state, acked_at ON notify_message WHEN (NEW.acked_at > 0 AND OLD.acked_at = 0 OR NEW.state <> OLD.state AND NEW.state IN ('bounced', 'failed', 'suppressed', 'expired', 'complained'))
BEGIN
  UPDATE notify_climb SET next_at = 1 WHERE message_key = NEW.msg_key AND state = 'climbing';
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER notify_message_heard;
DROP TRIGGER notify_message_call;
DROP TRIGGER notify_message_letter;
DROP TABLE notify_call_note;
DROP TABLE notify_call;
DROP TABLE notify_letter;
DROP TABLE notify_batch;
DROP TABLE notify_climb;
DROP TABLE notify_notice;
DROP TABLE notify_contact;
DROP TABLE notify_ladder;
DROP TABLE notify_template;
