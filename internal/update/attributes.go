package update

import (
	"context"
	"fmt"
	"maps"

	"fettle.dev/fettle/internal/fault"
)

// Bounds of what a unit's client may say of itself.
const (
	maxAttributes     = 128
	maxAttributeKey   = 128
	maxAttributeValue = 1024
)

// AttributeMode says how new attributes change the known ones.
type AttributeMode string

// The modes, as hawkBit names them.
const (
	AttributesMerge   AttributeMode = "merge"
	AttributesReplace AttributeMode = "replace"
	AttributesRemove  AttributeMode = "remove"
)

// SetAttributes keeps what a unit's client says of itself. It is information
// only: neither identity nor version comes from here.
func (s *Service) SetAttributes(ctx context.Context, unitID string, mode AttributeMode, data map[string]string) error {
	for k, v := range data {
		if k == "" || len(k) > maxAttributeKey || len(v) > maxAttributeValue {
			return fault.Fields("attributes", []fault.Field{{Path: "data." + clip(k), Expected: fmt.Sprintf("a key of 1 to %d and a value of at most %d bytes", maxAttributeKey, maxAttributeValue)}})
		}
	}
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		have, err := s.store.Attributes(ctx, unitID)
		if err != nil {
			return err
		}
		next := map[string]string{}
		switch mode {
		case AttributesReplace:
			maps.Copy(next, data)
		case AttributesMerge, "":
			maps.Copy(next, have)
			maps.Copy(next, data)
		case AttributesRemove:
			maps.Copy(next, have)
			for k := range data {
				delete(next, k)
			}
		default:
			return fault.Fields("attributes", []fault.Field{{Path: "mode", Expected: "merge, replace or remove", Got: clip(string(mode))}})
		}
		if len(next) > maxAttributes {
			return fault.Fields("attributes", []fault.Field{{Path: "data", Expected: fmt.Sprintf("at most %d attributes", maxAttributes), Got: fmt.Sprint(len(next))}})
		}
		return s.store.PutAttributes(ctx, unitID, next)
	})
	if err != nil {
		return fmt.Errorf("attributes of %s: %w", unitID, err)
	}
	s.idle.describe(unitID)
	return nil
}

// Forget drops what the client of a unit that is deleted said of itself: who
// has its id next is asked anew. Call it in the transaction that deletes.
func (s *Service) Forget(ctx context.Context, unitID string) error {
	if err := s.store.DropAttributes(ctx, unitID); err != nil {
		return fmt.Errorf("attributes of %s: %w", unitID, err)
	}
	s.idle.undescribe(unitID)
	return nil
}

// Attributes are what a unit's client said of itself.
func (s *Service) Attributes(ctx context.Context, unitID string) (map[string]string, error) {
	return s.store.Attributes(ctx, unitID)
}
