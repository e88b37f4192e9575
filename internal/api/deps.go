package api

// Deps is what the operations work with.
type Deps struct{}
