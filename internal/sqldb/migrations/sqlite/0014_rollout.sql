-- +goose Up
ALTER TABLE campaign_run ADD COLUMN closing BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign_task ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE campaign_task ADD COLUMN queue BIGINT NOT NULL DEFAULT 0;
UPDATE campaign_task SET queue = 1 WHERE state = 'planned' AND next_at = 0;
DROP INDEX campaign_task_due;
CREATE INDEX campaign_task_due ON campaign_task (campaign_id, next_at) WHERE next_at > 0;
CREATE INDEX campaign_task_page ON campaign_task (campaign_id, id);
CREATE INDEX campaign_task_queue ON campaign_task (campaign_id, queue, wave, id) WHERE queue > 0;
CREATE INDEX campaign_task_code ON campaign_task (campaign_id, code, state) WHERE code <> '';
CREATE INDEX campaign_task_under_way ON campaign_task (campaign_id, state, queue) WHERE state IN ('accepted', 'installing', 'claimed');
-- What owners have set for themselves.
CREATE TABLE campaign_preference (
  owner_id TEXT PRIMARY KEY REFERENCES fleet_owner (id) ON DELETE CASCADE,
  doc      TEXT NOT NULL
);
-- Running campaigns that units may join. While a product has one, its units
-- that change are noted, each once, in the order of their last change.
CREATE TABLE campaign_dynamic (
  campaign_id TEXT PRIMARY KEY REFERENCES campaign_run (id) ON DELETE CASCADE,
  product     TEXT NOT NULL
);
CREATE INDEX campaign_dynamic_product ON campaign_dynamic (product);
CREATE TABLE campaign_unit_change (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  unit_id TEXT NOT NULL UNIQUE,
  product TEXT NOT NULL
);
CREATE INDEX campaign_unit_change_product ON campaign_unit_change (product, seq);
-- +goose StatementBegin
CREATE TRIGGER campaign_unit_added AFTER INSERT ON fleet_unit WHEN EXISTS (SELECT 1 FROM campaign_dynamic WHERE product = NEW.product)
BEGIN
  DELETE FROM campaign_unit_change WHERE unit_id = NEW.id;
  INSERT INTO campaign_unit_change (unit_id, product) VALUES (NEW.id, NEW.product);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER campaign_unit_changed AFTER UPDATE ON fleet_unit WHEN (OLD.product <> NEW.product OR OLD.hardware <> NEW.hardware OR OLD.batch <> NEW.batch OR OLD.region <> NEW.region
    OR OLD.attributes <> NEW.attributes OR OLD.versions <> NEW.versions OR OLD.state <> NEW.state)
  AND EXISTS (SELECT 1 FROM campaign_dynamic WHERE product = NEW.product)
BEGIN
  DELETE FROM campaign_unit_change WHERE unit_id = NEW.id;
  INSERT INTO campaign_unit_change (unit_id, product) VALUES (NEW.id, NEW.product);
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER campaign_unit_changed;
DROP TRIGGER campaign_unit_added;
DROP TABLE campaign_unit_change;
DROP TABLE campaign_dynamic;
DROP TABLE campaign_preference;
DROP INDEX campaign_task_under_way;
DROP INDEX campaign_task_code;
DROP INDEX campaign_task_queue;
DROP INDEX campaign_task_page;
DROP INDEX campaign_task_due;
ALTER TABLE campaign_task DROP COLUMN queue;
ALTER TABLE campaign_task DROP COLUMN code;
ALTER TABLE campaign_run DROP COLUMN closing;
CREATE INDEX campaign_task_due ON campaign_task (next_at) WHERE next_at > 0;
