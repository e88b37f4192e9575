// Package unitkit is what runs on a unit: it asks a Fettle server what there is
// to install, verifies the answer against two independent sets of signatures
// before it believes a word of it, fetches the bytes, and tells the server how
// it went. fettle-agent is built on it; so can anything be that is written in
// Go and wants Fettle's updates without SWUpdate, RAUC or Mender.
//
// What is verified is The Update Framework's metadata
// (https://theupdateframework.github.io/specification/v1.0.33/), arranged as
// the Uptane Standard 2.1.0 does (https://uptane.org/docs/2.1.0/standard/uptane-standard):
//
//   - the image repository says which software exists: hash, length, hardware,
//     component, version and release counter of each file, signed on machines
//     without a network by at least two people;
//   - the director says what this unit shall install: signed by the server,
//     for this unit alone, for a few hours.
//
// Check believes a target only where both agree ("full verification", section
// 5.4.4.2 of the standard). Every attack that was recognised is an [*AttackError]
// with a name of its own.
//
//	c, err := unitkit.New(unitkit.Config{Server: "https://fettle.example", UnitID: "WC-000123", Token: token, Dir: "/var/lib/unit", ...})
//	u, err := c.Check(ctx)          // nil, nil: nothing to do
//	for _, t := range u.Targets {   // in the order of installation
//		err = c.FetchFile(ctx, t, "/data/"+t.Filename) // resumes, and verifies the whole
//	}
//	// install at u.NotBefore, restart, check the unit's health, and only then:
//	err = c.Confirm(ctx, u)         // raises the counters, reports the versions, signed
//
// A Client is for one goroutine at a time.
package unitkit

import "time"

// Update is what this unit shall install, verified.
type Update struct {
	Action    int64     // the assignment's id, for Report
	Cancel    bool      // the assignment is to be stopped: Report StateCanceled, or StateRefused
	Release   string    // name of the release
	Kind      string    // security, safety, fix or feature
	Counter   uint64    // the release's counter; never below the one that the unit confirmed
	NotBefore time.Time // the owner's time: fetching may begin before, installing not; zero: at once
	NotAfter  time.Time // installing may begin until then without having asked again
	Targets   []Target  // in the order of installation: all of them or none
}

// Ready reports whether installing may begin at t.
func (u *Update) Ready(t time.Time) bool {
	return !u.Cancel && !t.Before(u.NotBefore) && (u.NotAfter.IsZero() || !t.After(u.NotAfter))
}

// Target is one file for one component, on which both repositories agree.
type Target struct {
	Component string   // which part of the unit, as in Config.Components
	Version   string   // what the component reports once it runs
	Filename  string   // a plain file name, without directories
	Length    int64    // bytes
	SHA256    string   // 64 lower-case hexadecimal digits
	Hardware  []string // hardware revisions it is for; empty: any
	Counter   uint64   // release counter of this component's software
}

// Component is one part of the unit that has software of its own.
type Component struct {
	Hardware string // its hardware revision, as burnt in at the factory
	Version  string // the version that runs now
}

// State says how an update goes.
type State string

// What Report tells. Installed is a claim: the server counts the update as
// installed once the unit reports the new versions by Confirm.
const (
	StateDownloading State = "downloading"
	StateDownloaded  State = "downloaded"
	StateInstalling  State = "installing"
	StateRebooting   State = "rebooting"
	StateInstalled   State = "installed"   // ended, successfully
	StateFailed      State = "failed"      // ended; nothing changed
	StateRolledBack  State = "rolled-back" // ended; the old version runs again
	StateCanceled    State = "canceled"    // ended, as the server asked
	StateRefused     State = "refused"     // of a cancel: it is too late to stop
)

// Progress is what Report tells the server about an update.
type Progress struct {
	State   State
	Done    int      // of Of; both 0: not known
	Of      int      // in any unit of measure
	Details []string // words for people: the last reason stands last
}
