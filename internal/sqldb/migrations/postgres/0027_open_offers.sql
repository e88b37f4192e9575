-- +goose Up
CREATE INDEX campaign_task_open ON campaign_task (unit_id) WHERE state IN ('offered', 'snoozed', 'scheduled', 'accepted');

-- +goose Down
DROP INDEX campaign_task_open;
