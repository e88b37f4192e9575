package spec

import "fettle.dev/fettle/internal/notify/preference"

// Preferences are what an owner has set, about updates and about being told.
type Preferences = preference.Preferences
