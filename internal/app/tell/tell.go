// Package tell wires what owners are told: the door with what stands behind it,
// what campaigns say through it, and the ladders, letters and calls that follow
// where it reached nobody.
package tell

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	api "fettle.dev/fettle/internal/api/words"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/person"
	"fettle.dev/fettle/internal/sqldb/words"
	"fettle.dev/fettle/internal/update"
)

// Config is what the rooms are built on.
type Config struct {
	Records *sqldb.DB
	Updates *update.Service
	Clock   clock.Clock
	IDs     clock.IDs
	Log     *slog.Logger
	URL     string
	Trail   *audit.Trail                                                // seals what is written of people
	Push    func(ctx context.Context, ownerID string) ([]string, error) // may be nil
	Carries func(ch notify.Channel) bool                                // may be nil
}

// Rooms are those built.
type Rooms struct {
	Store     *words.Store
	Templates *template.Catalogue
	People    *preference.Service // notify.Door
	Ladder    *ladder.Manager
	Letters   *letter.Service
	Calls     *calls.Service

	c Config
}

// New builds the rooms.
func New(c Config) *Rooms {
	r := &Rooms{Store: words.New(c.Records), c: c}
	r.Templates = &template.Catalogue{Store: r.Store, Before: lint.Refuse}
	messages, units := message.New(c.Records), c.Records.Fleet()
	r.People = preference.NewService(preference.Config{
		Store: r.Store, Keeper: c.Records.Campaign(), Messages: messages, Templates: r.Templates, Fleet: units, Tx: c.Records,
		Clock: c.Clock, Machine: clock.Real{}, IDs: c.IDs, Log: c.Log, URL: c.URL, Push: c.Push, Carries: c.Carries,
	})
	r.Ladder = ladder.NewManager(ladder.Config{
		Store: r.Store, Notices: r.Store, Door: r.People, Remedies: standings{c.Records.Campaign()}, Tx: c.Records, Clock: c.Clock, IDs: c.IDs, Log: c.Log,
		Carries: c.Carries,
	})
	r.Letters = letter.NewService(letter.Config{Store: r.Store, Messages: messages, People: r.People, Fleet: units, Tx: c.Records, Clock: c.Clock, IDs: c.IDs, Needed: r.Ladder.Needed})
	r.Calls = calls.NewService(calls.Config{Store: r.Store, Messages: messages, People: r.People, Fleet: units, Tx: c.Records, Clock: c.Clock, Sealer: sealer{c.Trail}, Needed: r.Ladder.Needed})
	return r
}

// Operations are what the API works with.
func (r *Rooms) Operations() api.Deps {
	return api.Deps{
		Templates: r.Templates, People: r.People, Ladder: r.Ladder, Letters: r.Letters, Calls: r.Calls, Store: r.Store, Messages: message.New(r.c.Records),
		Runs: r.c.Records.Campaign(), Fleet: r.c.Records.Fleet(), Clock: r.c.Clock, IDs: r.c.IDs, URL: r.c.URL,
	}
}

// sealer keeps what agents write under the owners' keys.
type sealer struct{ trail *audit.Trail }

func (s sealer) Seal(ctx context.Context, ownerID, text string) ([]byte, error) {
	p, err := s.trail.Person(ctx, ownerID)
	if err != nil {
		return nil, err
	}
	box, err := p.Seal(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(box)
}

func (s sealer) Open(ctx context.Context, ownerID string, box []byte) (string, error) {
	p, err := s.trail.Person(ctx, ownerID)
	if err != nil {
		return "", err
	}
	var b audit.Box
	if err := json.Unmarshal(box, &b); err != nil {
		return "", err
	}
	if b.About != p.Alias { // sealed under a key that is gone
		return "", fault.New(fault.NotFound, "the note was erased")
	}
	return p.Open(&b)
}

// texts are those of a campaign's notices.
var texts = map[campaign.NoticeKind]string{
	campaign.NoticeOffer:      template.UpdateOffer,
	campaign.NoticeReminder:   template.UpdateReminder,
	campaign.NoticeEscalation: template.UpdateEscalation,
	campaign.NoticeCountdown:  template.UpdateCountdown,
	campaign.NoticeDone:       template.UpdateDone,
	campaign.NoticeFailed:     template.UpdateFailed,
}

// kinds of messages by kinds of campaigns: a recall is about safety.
var kinds = map[campaign.Kind]notify.Kind{
	campaign.Recall: notify.Safety, campaign.Safety: notify.Safety, campaign.Security: notify.Security,
	campaign.Service: notify.Service, campaign.Feature: notify.Feature,
}

// Tell tells an owner what a campaign has to say, once for its key, and puts
// them on the ladder with the offer; it takes part in the caller's transaction.
// Whoever else uses the unit is told what concerns safety. It is campaign.Notices.
func (r *Rooms) Tell(ctx context.Context, c campaign.Notice) error {
	text, ok := texts[c.Kind]
	if !ok {
		return fmt.Errorf("no words for a notice of kind %q", c.Kind)
	}
	minutes, err := r.c.Updates.Minutes(ctx, &c.Release)
	if err != nil {
		return fmt.Errorf("tell owner: %w", err)
	}
	values := r.values(ctx, &c, c.Owner, minutes.Minutes)
	t := notify.Telling{
		Key: "task:" + c.Key, OwnerID: c.Owner.ID, Kind: kinds[c.Campaign.Kind], Template: text, Values: values,
		Product: c.Campaign.Product, Campaign: c.Campaign.Name, UnitID: c.Task.UnitID, About: "campaign/" + c.Campaign.Name,
	}
	if c.Kind == campaign.NoticeDone || c.Kind == campaign.NoticeFailed { // how it went is no warning
		t.Kind = notify.Service
	}
	offers := c.Kind == campaign.NoticeOffer || c.Kind == campaign.NoticeReminder || c.Kind == campaign.NoticeEscalation
	if c.Campaign.Kind == campaign.Recall && offers {
		if t.Template, err = r.recall(ctx, &c.Campaign, text); err != nil {
			return err
		}
	}
	t.Acknowledge = offers && t.Kind == notify.Safety
	if t.Acknowledge {
		if err := r.drivers(ctx, &c, t, minutes.Minutes); err != nil {
			return err
		}
	}
	d, err := r.People.ToOwner(ctx, t)
	if err != nil || c.Kind != campaign.NoticeOffer {
		return err
	}
	later := template.UpdateReminder
	switch {
	case t.Template == template.RecallNotice:
		later = t.Template
	case t.Kind == notify.Safety:
		later = template.UpdateEscalation
	}
	return r.Ladder.Begin(ctx, ladder.Climb{
		Key: "climb:" + c.Key, Campaign: c.Campaign.Name, TaskID: c.Task.ID, UnitID: c.Task.UnitID, OwnerID: c.Owner.ID,
		Kind: string(c.Campaign.Kind), Product: c.Campaign.Product, Template: later, Values: values,
	}, d, t.Key)
}

// values are what a campaign's notice says, in the language of whoever gets it.
func (r *Rooms) values(ctx context.Context, c *campaign.Notice, to fleet.Owner, minutes any) template.Values {
	locale := to.Locale
	if reader, err := r.People.Reader(ctx, to); err == nil {
		locale = reader.Locale
	}
	return template.Values{
		"Title": fleet.InLanguage(c.Campaign.Title, locale), "Reason": fleet.InLanguage(c.Campaign.Reason, locale),
		"WhatChanges": fleet.InLanguage(c.Release.Notes, locale), "Unavailable": fleet.InLanguage(c.Release.Unavailable, locale),
		"Minutes": minutes, "Size": template.Bytes(c.Size), "Deadline": c.Task.Deadline, "StartsAt": c.Task.At, "Why": c.Task.Why,
		"Link": r.c.URL + "/my/",
	}
}

// drivers tells those who use a unit that another owns what concerns their
// safety, each in their language and by their channels. What their owner is
// asked to decide is not asked of them, and their acknowledgement is not the
// owner's: the ladder goes on.
func (r *Rooms) drivers(ctx context.Context, c *campaign.Notice, t notify.Telling, minutes any) error {
	all, err := person.New(r.c.Records).Drivers(ctx, c.Task.UnitID)
	if err != nil {
		return fmt.Errorf("tell drivers: %w", err)
	}
	key := t.Key
	for _, d := range all {
		who, err := r.c.Records.Fleet().Owner(ctx, d.PersonID)
		if err != nil {
			return fmt.Errorf("tell drivers: %w", err)
		}
		t.Key, t.OwnerID, t.Values = key+":driver:"+d.PersonID, d.PersonID, r.values(ctx, c, who, minutes)
		if t.Template != template.RecallNotice { // which tells everybody what to do
			t.Template = template.DriverNotice
		}
		if d.MayUpdate {
			t.Values["MayUpdate"] = "yes"
		}
		if _, err := r.People.ToOwner(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// recall is the text of a recall's notices: the one that was declared with what
// art. 36 asks for, else that of any update.
func (r *Rooms) recall(ctx context.Context, c *campaign.Campaign, otherwise string) (string, error) {
	s, err := r.Templates.Resolve(ctx, template.RecallNotice, c.Product, c.Name)
	if err != nil {
		return "", err
	}
	if s.Name == template.RecallNotice && s.Product == "" && s.Campaign == "" { // what is built in knows no facts
		if _, err := r.Store.Template(ctx, s.Name); fault.KindOf(err) == fault.NotFound {
			return otherwise, nil
		}
	}
	return template.RecallNotice, nil
}

// Delivered reports whether a notice could be seen.
func (r *Rooms) Delivered(ctx context.Context, key string) (bool, error) {
	return r.People.Seen(ctx, "task:"+key)
}

// standings tell ladders where tasks stand.
type standings struct{ runs campaign.Store }

func (s standings) Standing(ctx context.Context, taskID string) (ladder.Standing, error) {
	t, err := s.runs.Task(ctx, taskID)
	if err != nil {
		return ladder.Standing{}, err
	}
	run, err := s.runs.CampaignByID(ctx, t.CampaignID)
	if err != nil {
		return ladder.Standing{}, err
	}
	out := ladder.Standing{OwnerID: t.OwnerID, Paused: run.State == campaign.Paused, Over: !run.Open()}
	switch t.State { //nolint:exhaustive // the others have been neither answered nor ended
	case campaign.Claimed, campaign.Verifying, campaign.Verified, campaign.Unjudged:
		out.Remedied = true
	case campaign.Declined:
		out.Declined = true
	case campaign.Accepted, campaign.Scheduled, campaign.Installing, campaign.Retrying, campaign.Relapsed, campaign.FailedTask:
		out.Chosen = true
	case campaign.Snoozed:
		out.Until = t.At
	case campaign.Expired, campaign.Withdrawn, campaign.Superseded, campaign.Blocked, campaign.Unreachable:
		out.Over = true
	}
	return out, nil
}
