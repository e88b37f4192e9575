package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/update"
)

const product = "charger"

// unitID and token are also in load.go's script.
func unitID(i int) string { return fmt.Sprintf("WC-%07d", i) }

func token(i int) string { return fmt.Sprintf("%s%043d", fleet.UnitTokenPrefix, i) }

// fleetOf is what is registered: units with a token that have described
// themselves, each with so many updates behind it.
type fleetOf struct{ units, campaigns int }

const atOnce = 20_000

// write puts the fleet into new records.
func (f fleetOf) write(ctx context.Context, data string) (err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(data, "records.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if f.units == 0 {
		return nil
	}
	if err := db.Fleet().PutProduct(ctx, fleet.Product{Name: product, Title: "Wall charger"}); err != nil {
		return err
	}
	for from := 0; from < f.units; from += atOnce {
		err := db.InTx(ctx, func(ctx context.Context) error { return f.some(ctx, db, from, min(from+atOnce, f.units)) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (f fleetOf) some(ctx context.Context, db *sqldb.DB, from, to int) error {
	now := time.Now()
	units, hashes := make([]fleet.Unit, 0, to-from), map[string]string{}
	for i := from; i < to; i++ {
		units = append(units, fleet.Unit{
			ID: unitID(i), Key: clock.Random{}.Key(), Product: product, Serial: unitID(i), Hardware: "B", Region: "NO",
			State: fleet.UnitActive, CreatedAt: now,
		})
		sum := sha256.Sum256([]byte(token(i)))
		hashes[unitID(i)] = hex.EncodeToString(sum[:])
	}
	if err := db.Fleet().PutUnits(ctx, units); err != nil {
		return err
	}
	if err := db.Credentials().PutTokenHashes(ctx, hashes, now); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if err := db.Update().PutAttributes(ctx, unitID(i), map[string]string{"serial": unitID(i)}); err != nil {
			return err
		}
		for c := range f.campaigns {
			_, err := db.Update().Assign(ctx, update.Assignment{
				UnitID: unitID(i), Release: "r", Ref: fmt.Sprintf("%d-%d", i, c), State: update.Canceled, Created: now, Ended: now, Updated: now,
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// check looks whether the server tells units from strangers, and answers what
// the bare handler does.
func (f fleetOf) check(address string) error {
	for _, i := range []int{0, f.units / 2, f.units - 1} {
		for _, c := range []struct {
			token string
			want  int
		}{{token(i), http.StatusOK}, {token(i + 1), http.StatusUnauthorized}, {"", http.StatusUnauthorized}} {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+address+"/DEFAULT/controller/v1/"+unitID(i), nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "TargetToken "+c.token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != c.want || c.want == http.StatusOK && string(body) != answer {
				return fmt.Errorf("unit %s with token %q was answered %s %s (%w)", unitID(i), c.token, res.Status, body, err)
			}
		}
	}
	return nil
}
