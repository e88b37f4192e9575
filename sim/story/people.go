package story

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
)

// Of how many owners one has a mailbox that is no more, and one has given phone
// or address for when mail does not reach them.
const (
	goneOf  = 16
	givenOf = 5
)

// goneAt is where mail for those whose mailbox is no more would go.
const goneAt = "@gone.example.org"

// noMailbox says that nobody takes mail at an address.
func noMailbox(to string) bool { return strings.HasSuffix(to, goneAt) }

// leave takes the mailbox of some owners away: they hear of nothing until
// somebody calls or writes.
func leave(units []*charger.Unit) {
	for _, u := range units {
		if u.Index%goneOf == goneOf/2 {
			u.Email, u.Mood = strings.Replace(u.Email, "@example.org", goneAt, 1), charger.NeverReact
		}
	}
}

type postalAddress struct {
	Lines      []string `json:"lines"`
	PostalCode string   `json:"postalCode"`
	City       string   `json:"city"`
	Region     string   `json:"region,omitempty"`
	Country    string   `json:"country"`
}

type contact struct {
	Phone   string         `json:"phone,omitempty"`
	Address *postalAddress `json:"address,omitempty"`
}

// home is where the people of a region live, and what their numbers begin with:
// none that anybody has.
type home struct {
	phone, street  string
	before         bool // the number stands before the street
	code, city, in string
	country        string
}

var homes = map[string]home{
	"US-CA": {"+121355501", "Mission Street", true, "94103", "San Francisco", "CA", "US"},
	"US-WA": {"+120655501", "Pine Street", true, "98101", "Seattle", "WA", "US"},
	"US-NY": {"+121255501", "Grand Street", true, "10002", "New York", "NY", "US"},
	"US-TX": {"+151255501", "Congress Avenue", true, "78701", "Austin", "TX", "US"},
	"NO":    {"+47000001", "Storgata", false, "0155", "Oslo", "", "NO"},
	"NL":    {"+310000001", "Dorpsstraat", false, "1012 AB", "Amsterdam", "", "NL"},
	"DE":    {"+4930231250", "Hauptstraße", false, "10827", "Berlin", "", "DE"},
}

// contactOf is what an owner has given beside the mail address, if anything: a
// phone, an address, or both.
func contactOf(u *charger.Unit) (c contact, given bool) {
	if u.Mood != charger.NeverReact && u.Index%givenOf != 0 {
		return c, false
	}
	h, n := homes[u.Region], u.Index/2%99+1
	if u.Index/goneOf%3 != 0 {
		c.Phone = fmt.Sprintf("%s%02d", h.phone, n)
	}
	if u.Index/goneOf%3 != 1 {
		line := fmt.Sprintf("%s %d", h.street, n)
		if h.before {
			line = fmt.Sprintf("%d %s", n, h.street)
		}
		c.Address = &postalAddress{Lines: []string{line}, PostalCode: h.code, City: h.city, Region: h.in, Country: h.country}
	}
	return c, true
}

// contactsFrom is the size of a fleet from which on dealers know less: a few
// thousand people's records show all there is to see.
const contactsFrom = 4000

// declareContacts notes how owners can be reached beside mail, as a dealer's
// records would say.
func declareContacts(ctx context.Context, c *client.Caller, units []*charger.Unit) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, u := range units {
		have, given := contactOf(u)
		if !given || u.Index%(1+len(units)/contactsFrom) != 0 {
			continue
		}
		g.Go(func() error {
			var owner struct {
				ID string `json:"id"`
			}
			if _, err := c.Do(ctx, http.MethodGet, "/v1/privacy/person?email="+url.QueryEscape(u.Email), nil, &owner); err != nil {
				return err
			}
			_, err := c.Do(ctx, http.MethodPut, "/v1/owners/"+owner.ID+"/contact", have, nil)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("note how owners are reached: %w", err)
	}
	return nil
}
