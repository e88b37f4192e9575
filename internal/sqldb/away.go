package sqldb

import "fettle.dev/fettle/internal/sqldb/failure"

// away turns failures that pass into fault.Unavailable: no room, no answer.
func away(err error) error { return failure.Away(err) }
