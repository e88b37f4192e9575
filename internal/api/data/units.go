package data

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/receipt"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// UnitConsents is what a unit's owner chose, as operators see it.
type UnitConsents struct {
	UnitID      string              `json:"unitId"`
	Product     string              `json:"product"`
	Owned       bool                `json:"owned" doc:"It has an owner; without one nobody can choose."`
	Since       time.Time           `json:"since,omitzero" doc:"When the present owner took over."`
	Notice      string              `json:"notice" doc:"The version that owners read now."`
	Restricted  bool                `json:"restricted" doc:"The owner had it restricted: data is stored, and not used (GDPR art. 18)."`
	Purposes    []UnitPurpose       `json:"purposes"`
	Choices     []UnitChoice        `json:"choices" doc:"The newest first."`
	More        int                 `json:"more,omitempty" doc:"Choices that are older than those listed."`
	Withdrawals []wire.MyWithdrawal `json:"withdrawals" doc:"What became of what was collected; the newest first."`
}

// UnitPurpose is how a unit stands to a purpose.
type UnitPurpose struct {
	Name      string      `json:"name"`
	Title     string      `json:"title"`
	Basis     fleet.Basis `json:"basis"`
	Permitted bool        `json:"permitted" doc:"Data is used for it now."`
	Objected  bool        `json:"objected" doc:"The owner objected (GDPR art. 21)."`
	ChosenAt  time.Time   `json:"chosenAt,omitzero"`
	Notice    string      `json:"notice,omitempty" doc:"The version that the choice was made by."`
	New       []string    `json:"new" doc:"Titles of what the choice does not cover, because it was made before a notice added it."`
}

// UnitChoice is one choice about a unit.
type UnitChoice struct {
	ID       string    `json:"id" doc:"The receipt's number."`
	Purpose  string    `json:"purpose"`
	Title    string    `json:"title"`
	Given    bool      `json:"given"`
	At       time.Time `json:"at"`
	Notice   string    `json:"notice,omitempty"`
	Language string    `json:"language,omitempty"`
	By       string    `json:"by" enum:"owner,import,other" doc:"import: declared with the unit by the maker, who holds the proof."`
	Former   bool      `json:"former,omitempty" doc:"It was made under an earlier owner, and counts no more."`
}

// maxChoices bounds an answer; people who chose more often can be given all of
// them as receipts.
const maxChoices = 500

func (s *server) units() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/consents", ID: "getUnitConsents", Summary: "What a unit's owner chose, and by which notice",
		Tag: "units", Access: access.Privacy, Or: []frame.Access{access.Personal}, Sight: frame.ByUnit, Personal: audit.DataConsents,
	}, s.unitConsents)
	op := frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/receipts", ID: "getUnitReceipts", Summary: "The receipts of all choices of a unit's owner",
		Doc: "The proof of consent (GDPR art. 7(1)): ISO/IEC TS 27560:2023 as JSON-LD, with its context. Those of earlier owners are not in it.",
		Tag: "units", Access: access.Privacy, Sight: frame.ByUnit, Personal: audit.DataConsents,
	}.Operation()
	op.Responses = map[string]*huma.Response{"200": {Description: "The document.", Content: map[string]*huma.MediaType{mediaLD: {Schema: &huma.Schema{Type: "object"}}}}}
	huma.Register(s.API, op, func(ctx context.Context, in *frame.IDParam) (*document, error) {
		u, p, since, err := s.unitOf(ctx, in.ID)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		if u.OwnerID == "" {
			return nil, s.Problem(ctx, fault.New(fault.NotFound, "unit %q has no owner, and so no choices", u.ID))
		}
		all, err := Receipts(ctx, &s.d, s.PublicURL, u.OwnerID, u, &p, since, time.Time{})
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return s.document(ctx, receipt.All(s.PublicURL, u.OwnerID, all), "receipts-"+u.ID)
	})
}

// unitOf is a unit with its product, and when its present owner took over.
func (s *server) unitOf(ctx context.Context, id string) (u fleet.Unit, p fleet.Product, since time.Time, err error) {
	if u, err = s.Fleet.Unit(ctx, id); err != nil {
		return u, p, since, err
	}
	if p, err = s.Fleet.Product(ctx, u.Product); err != nil {
		return u, p, since, err
	}
	since, err = s.People.Since(ctx, u.ID)
	return u, p, since, err
}

func (s *server) unitConsents(ctx context.Context, in *frame.IDParam) (UnitConsents, error) {
	u, p, since, err := s.unitOf(ctx, in.ID)
	if err != nil {
		return UnitConsents{}, err
	}
	mask, err := s.d.Choices.Mask(ctx, u.ID)
	if err != nil {
		return UnitConsents{}, err
	}
	choices, err := s.d.Choices.Choices(ctx, u.ID)
	if err != nil {
		return UnitConsents{}, err
	}
	lang := p.Tongue()
	out := UnitConsents{
		UnitID: u.ID, Product: p.Name, Owned: u.OwnerID != "", Since: since, Notice: consent.VersionOf(&p), Restricted: mask[consent.Restricted],
		Purposes: []UnitPurpose{}, Choices: []UnitChoice{}, Withdrawals: []wire.MyWithdrawal{},
	}
	last := map[string]consent.Choice{}
	for i, c := range slices.Backward(choices) {
		former := c.At.Before(since)
		if _, newer := last[c.Purpose]; !newer && !former {
			last[c.Purpose] = c
		}
		if len(out.Choices) == maxChoices {
			if out.More == 0 {
				out.More = i + 1
			}
			continue
		}
		q, _ := p.Purpose(c.Purpose)
		out.Choices = append(out.Choices, UnitChoice{
			ID: c.ID, Purpose: c.Purpose, Title: q.Words(lang).Title, Given: c.Given, At: c.At, Notice: c.Notice, Language: c.Language, By: byWhom(c.By), Former: former,
		})
	}
	for i := range p.Purposes {
		q := &p.Purposes[i]
		v := UnitPurpose{
			Name: q.Name, Title: q.Words(lang).Title, Basis: q.Basis, Permitted: mask.PermitsPurpose(&p, q.Name), Objected: mask[consent.Objected+q.Name],
			ChosenAt: last[q.Name].At, Notice: last[q.Name].Notice, New: []string{},
		}
		if q.Basis == fleet.BasisConsent && v.Permitted {
			v.New = itemTitles(&p, lang, mask.Uncovered(q.Name))
		}
		out.Purposes = append(out.Purposes, v)
	}
	if s.d.Withdrawals != nil {
		all, err := s.d.Withdrawals.Of(ctx, u.ID)
		if err != nil {
			return UnitConsents{}, err
		}
		for _, w := range all {
			out.Withdrawals = append(out.Withdrawals, withdrawn(&p, lang, &w))
		}
	}
	return out, nil
}

// byWhom is what a choice says of who made it, without whom that is.
func byWhom(by string) string {
	switch {
	case by == consent.ByImport:
		return "import"
	case strings.HasPrefix(by, "owner:"):
		return "owner"
	}
	return "other"
}
