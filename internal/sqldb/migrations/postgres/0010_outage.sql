-- +goose Up
ALTER TABLE condition_finding ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE condition_finding ADD COLUMN units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE condition_state ADD COLUMN silent_at BIGINT NOT NULL DEFAULT 0;
UPDATE condition_state SET silent_at = COALESCE((SELECT MAX(f.opened_at) FROM condition_finding f JOIN condition_detector d ON d.name = f.detector AND d.version = f.version
  WHERE f.unit_key = condition_state.unit_key AND f.state = 'open' AND d.type = 'silence'), 0);

-- +goose Down
ALTER TABLE condition_state DROP COLUMN silent_at;
ALTER TABLE condition_finding DROP COLUMN units;
ALTER TABLE condition_finding DROP COLUMN place;
