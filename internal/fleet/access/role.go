package access

import (
	"maps"
	"slices"
)

// Permission is one thing an operator may do.
type Permission string

// The permissions. Administer, Privacy and Enrol of all units need a sight
// without bounds where they concern the whole service: routes say so.
const (
	Look       Permission = "look"       // products, units, their condition and measurements, findings, campaigns, releases
	Personal   Permission = "personal"   // owners' names and contacts
	Findings   Permission = "findings"   // work on findings; enter maintenance
	Contact    Permission = "contact"    // tell owners something; work call lists
	Analyse    Permission = "analyse"    // freeze cohorts, run backtests
	Export     Permission = "export"     // take history out of the service
	Declare    Permission = "declare"    // products, detectors and what else files declare
	Units      Permission = "units"      // declare units and their owners
	Enrol      Permission = "enrol"      // units' credentials, claims; revoke and retire units
	Release    Permission = "release"    // upload artifacts, declare, sign and withdraw releases
	Campaign   Permission = "campaign"   // declare, start, pause and cancel campaigns
	Approve    Permission = "approve"    // say yes to what another operator asked for
	Privacy    Permission = "privacy"    // notices, erasure, restriction, the audit trail
	Administer Permission = "administer" // operators, tokens, routes of messages, backups
)

// Permissions lists them all.
var Permissions = []Permission{
	Look, Personal, Findings, Contact, Analyse, Export, Declare, Units, Enrol, Release, Campaign, Approve, Privacy, Administer,
}

// Role is what an operator is there for.
type Role string

// The roles.
const (
	Viewer         Role = "viewer"
	ServiceAgent   Role = "service agent"
	Engineer       Role = "engineer"
	ReleaseManager Role = "release manager"
	PrivacyOfficer Role = "privacy officer"
	Admin          Role = "admin"
)

// Roles lists them, the least powerful first.
var Roles = []Role{Viewer, ServiceAgent, Engineer, ReleaseManager, PrivacyOfficer, Admin}

// may is what each role may do. What does not stand here is refused.
var may = map[Role]Set{
	Viewer:         set(Look),
	ServiceAgent:   set(Look, Personal, Findings, Contact),
	Engineer:       set(Look, Findings, Analyse, Export, Declare, Units, Enrol),
	ReleaseManager: set(Look, Findings, Analyse, Declare, Units, Release, Campaign, Approve),
	PrivacyOfficer: set(Look, Personal, Export, Privacy),
	Admin:          set(Permissions...),
}

// May is what an operator of this role may do; nothing for a role that is not known.
func (r Role) May() Set { return may[r] }

// Set is a set of permissions.
type Set map[Permission]bool

func set(p ...Permission) Set {
	s := Set{}
	for _, one := range p {
		s[one] = true
	}
	return s
}

// And is what is in both sets.
func (s Set) And(other Set) Set {
	both := maps.Clone(s)
	maps.DeleteFunc(both, func(p Permission, _ bool) bool { return !other[p] })
	return both
}

// List is what is in the set, in the order of Permissions.
func (s Set) List() []Permission {
	return slices.DeleteFunc(slices.Clone(Permissions), func(p Permission) bool { return !s[p] })
}

// Scope is what an API token may do at most: never more than the operator who
// made it may do at that time. Each includes those before it.
type Scope string

// The scopes.
const (
	ScopeRead  Scope = "read"
	ScopeWrite Scope = "write"
	ScopeAdmin Scope = "admin"
	// ScopeHawkbit opens the API that tools for hawkBit speak, and nothing else;
	// no other scope opens that.
	ScopeHawkbit Scope = "hawkbit"
)

var scopes = []Scope{ScopeRead, ScopeWrite, ScopeAdmin}

var (
	reads  = []Permission{Look, Personal, Export}
	writes = append(slices.Clone(reads), Findings, Contact, Analyse, Declare, Units, Release, Campaign)
	// No token approves: the second pair of eyes is a person's.
	admins = append(slices.Clone(writes), Enrol, Privacy, Administer)

	scoped = map[Scope]Set{ScopeRead: set(reads...), ScopeWrite: set(writes...), ScopeAdmin: set(admins...)}

	// hawkbitNeeds is what an operator must have so that tokens of theirs may work with hawkBit's API.
	hawkbitNeeds = []Permission{Units, Enrol, Release, Campaign}
)

// May is what a token of this scope may do at most.
func (s Scope) May() Set { return scoped[s] }

// Includes reports whether s allows what needs other.
func (s Scope) Includes(other Scope) bool {
	if s == ScopeHawkbit {
		return other == s
	}
	have, want := slices.Index(scopes, s), slices.Index(scopes, other)
	return want >= 0 && have >= want
}

// ScopeOf is the widest scope of which an operator has every permission.
func ScopeOf(s Set) Scope {
	for _, scope := range []Scope{ScopeAdmin, ScopeWrite} {
		if len(s.And(scope.May())) == len(scope.May()) {
			return scope
		}
	}
	return ScopeRead
}
