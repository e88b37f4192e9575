-- +goose Up
CREATE INDEX condition_finding_unwell ON condition_finding (unit_id) WHERE state = 'open';
CREATE INDEX condition_state_silent ON condition_state (unit_key) WHERE silent_at > 0;

-- +goose Down
DROP INDEX condition_state_silent;
DROP INDEX condition_finding_unwell;
