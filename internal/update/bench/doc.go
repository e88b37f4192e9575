package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"fettle.dev/fettle/internal/fault"
)

func add[T any](ctx context.Context, s *Service, kind Kind, v *T, id *int64) error {
	return s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.cfg.Store.Next(ctx, kind)
		if err != nil {
			return err
		}
		*id = n
		return put(ctx, s, kind, number(n), v)
	})
}

func put[T any](ctx context.Context, s *Service, kind Kind, name string, v *T) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, name, err)
	}
	return s.cfg.Store.Put(ctx, kind, name, doc)
}

func get[T any](ctx context.Context, s *Service, kind Kind, id int64, v *T) error {
	doc, err := s.cfg.Store.Get(ctx, kind, number(id))
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return fault.New(fault.NotFound, "no %s %d", kind, id)
		}
		return err
	}
	return json.Unmarshal(doc, v)
}

func all[T any](ctx context.Context, s *Service, kind Kind, name func(*T, int64)) ([]T, error) {
	out := []T{}
	err := s.cfg.Store.Each(ctx, kind, func(id string, doc []byte) error {
		var v T
		if err := json.Unmarshal(doc, &v); err != nil {
			return fmt.Errorf("%s %s in the records: %w", kind, id, err)
		}
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return err
		}
		name(&v, n)
		out = append(out, v)
		return nil
	})
	return out, err
}
