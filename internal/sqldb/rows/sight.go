package rows

import (
	"context"
	"strings"

	"fettle.dev/fettle/internal/fleet"
)

// InSight writes " AND …" for what an operator may see of rows that have a
// product and, with region not "", a region; "" where nothing is bounded.
func InSight(ctx context.Context, product, region string) (and string, args []any) {
	s := fleet.SightOf(ctx)
	for _, c := range []struct {
		column string
		values []string
	}{{product, s.Products}, {region, s.Regions}} {
		if c.column == "" || len(c.values) == 0 {
			continue
		}
		and += " AND " + c.column + " IN (" + strings.TrimSuffix(strings.Repeat("?,", len(c.values)), ",") + ")"
		for _, v := range c.values {
			args = append(args, v)
		}
	}
	return and, args
}

// UnitInSight is InSight for rows that have a unit's id, or by key its key.
func UnitInSight(ctx context.Context, column string) (and string, args []any) {
	if and, args = InSight(ctx, "product", "region"); and == "" {
		return "", nil
	}
	of := "id"
	if strings.HasSuffix(column, "unit_key") {
		of = "unit_key"
	}
	return " AND " + column + " IN (SELECT " + of + " FROM fleet_unit WHERE" + strings.TrimPrefix(and, " AND") + ")", args
}
