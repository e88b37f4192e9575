package person

import (
	"context"
	"log/slog"
	"strings"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	store "fettle.dev/fettle/internal/sqldb/person"
	"fettle.dev/fettle/internal/sqldb/signin"
)

// KeyFile is the file in the data directory that holds the key which operators'
// authenticators are encrypted with in the records.
const KeyFile = "operators-key"

// Access builds what lets people in. It runs by the machine's clock. key is of
// 32 bytes; fourEyes is a comma-separated list of products, or all.
func Access(records *sqldb.DB, ids clock.IDs, log *slog.Logger, key []byte, fourEyes string, conf access.Config) *access.Service {
	conf.Secrets, conf.Key, conf.Approvals = signin.Secrets(records), key, signin.Approvals(records)
	var products []string
	for name := range strings.SplitSeq(fourEyes, ",") {
		if name = strings.TrimSpace(name); name != "" {
			products = append(products, name)
		}
	}
	if len(products) > 0 {
		conf.FourEyes = access.Products(products)
	}
	passkeys := store.New(records)
	conf.Passkeys = func(ctx context.Context, operatorID string) (int, error) {
		all, err := passkeys.Passkeys(ctx, access.PartyOperator, operatorID)
		return len(all), err
	}
	return access.New(signin.New(records), records.Fleet(), records, clock.Real{}, ids, log, conf)
}
