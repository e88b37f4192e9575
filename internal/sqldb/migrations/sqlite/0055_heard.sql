-- +goose Up
-- The queue is read along its index, whatever waits.
CREATE INDEX notify_message_queue ON notify_message (channel, urgency, next_at, id) WHERE next_at > 0;
DROP INDEX notify_message_due;
-- An acknowledgement of anything that an owner was told of a campaign and a unit
-- wakes the climb, not only one of its newest step.
CREATE INDEX notify_message_acked ON notify_message (owner_id, unit_id, about) WHERE acked_at > 0;
CREATE INDEX notify_notice_acked ON notify_notice (owner_id, unit_id, about) WHERE acked_at > 0;
DROP TRIGGER notify_message_heard;
-- +goose StatementBegin
CREATE TRIGGER notify_message_heard AFTER UPDATE OF state ON notify_message WHEN (NEW.state <> OLD.state AND NEW.state IN ('bounced', 'failed', 'suppressed', 'expired', 'complained'))
BEGIN
  UPDATE notify_climb SET next_at = 1 WHERE message_key = NEW.msg_key AND state = 'climbing';
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER notify_message_acknowledged AFTER UPDATE OF acked_at ON notify_message WHEN (NEW.acked_at > 0 AND OLD.acked_at = 0)
BEGIN
  UPDATE notify_climb SET next_at = 1 WHERE owner_id = NEW.owner_id AND unit_id = NEW.unit_id AND 'campaign/' || campaign = NEW.about AND state = 'climbing';
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER notify_notice_acknowledged AFTER UPDATE OF acked_at ON notify_notice WHEN (NEW.acked_at > 0 AND OLD.acked_at = 0)
BEGIN
  UPDATE notify_climb SET next_at = 1 WHERE owner_id = NEW.owner_id AND unit_id = NEW.unit_id AND 'campaign/' || campaign = NEW.about AND state = 'climbing';
END;
-- +goose StatementEnd

-- +goose Down
CREATE INDEX notify_message_due ON notify_message (channel, urgency, next_at) WHERE next_at > 0;
DROP INDEX notify_message_queue;
DROP TRIGGER notify_notice_acknowledged;
DROP TRIGGER notify_message_acknowledged;
DROP TRIGGER notify_message_heard;
-- +goose StatementBegin
CREATE TRIGGER notify_message_heard AFTER UPDATE OF state, acked_at ON notify_message WHEN (NEW.acked_at > 0 AND OLD.acked_at = 0 OR NEW.state <> OLD.state AND NEW.state IN ('bounced', 'failed', 'suppressed', 'expired', 'complained'))
BEGIN
  UPDATE notify_climb SET next_at = 1 WHERE message_key = NEW.msg_key AND state = 'climbing';
END;
-- +goose StatementEnd
DROP INDEX notify_notice_acked;
DROP INDEX notify_message_acked;
