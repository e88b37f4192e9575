package wire

import (
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

// Names of the session cookies. An operator's says nothing to the owners'
// operations, nor the other way round.
const (
	OperatorCookie = "fettle_operator"
	OwnerCookie    = "fettle_owner"
)

// Document is a declared document.
type Document struct {
	APIVersion string           `json:"apiVersion" enum:"fettle.dev/v1"`
	Kind       declare.Kind     `json:"kind" enum:"Product,Unit,Detector,Release,Campaign,Template,Ladder,Tip"`
	Metadata   declare.Metadata `json:"metadata"`
	Spec       Spec             `json:"spec"`
}

// Apply asks for documents to be applied.
type Apply struct {
	Documents []Document `json:"documents"`
	DryRun    bool       `json:"dryRun,omitempty" doc:"Check, and show the changes, but change nothing."`
}

// Change is what applying one document does.
type Change struct {
	Kind   declare.Kind `json:"kind" enum:"Product,Unit,Detector,Release,Campaign,Template,Ladder,Tip"`
	Name   string       `json:"name"`
	Action string       `json:"action" enum:"created,changed,unchanged"`
	Diff   string       `json:"diff,omitempty" doc:"A line a field: - as it was, + as it will be."`
	// Warnings are what is no mistake and should be looked at.
	Warnings []string `json:"warnings,omitempty" doc:"What is no mistake and should be looked at, as the linter of safety notices found it."`
}

// Applied is what applying did, in the order of the documents.
type Applied struct {
	Changes []Change `json:"changes"`
	DryRun  bool     `json:"dryRun"`
}

// Page is one page of a list. Next, where it is set, is the `after` of the next page.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Give it as after to get the next page; absent on the last."`
}

// PageParams ask for a page.
type PageParams struct {
	After string `query:"after" doc:"The next of the page before."`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Most items to return."`
}

// List is a list that is never long.
type List[T any] struct {
	Items []T `json:"items"`
}

// NewClaimToken asks for a claim token.
type NewClaimToken struct {
	MaxUses int            `json:"maxUses,omitempty" minimum:"1" maximum:"1000000" doc:"Claims it may make (default 1000)."`
	Expires fleet.Duration `json:"expires,omitempty" doc:"How long it is valid (default 7d)."`
}

// Why gives a reason.
type Why struct {
	Why string `json:"why,omitempty" maxLength:"1000" doc:"Kept with the change."`
}

// NewRoute says where new findings are told.
type NewRoute struct {
	Product  string             `json:"product,omitempty" doc:"Empty: all products."`
	Severity condition.Severity `json:"severity,omitempty" doc:"Least severity; absent: all."`
	Channel  notify.Channel     `json:"channel"`
	To       string             `json:"to" minLength:"1" maxLength:"2000" doc:"Mail address or URL."`
}
