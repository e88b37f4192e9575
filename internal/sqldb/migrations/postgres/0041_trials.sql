-- +goose Up
ALTER TABLE condition_backtest ADD COLUMN product TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE condition_backtest DROP COLUMN product;
