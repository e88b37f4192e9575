package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

func escape(s string) string { return url.QueryEscape(s) }

// Owner is one owner's browser.
type Owner struct {
	Caller
}

// Choice is an owner's answer to an offer.
type Choice string

// The choices.
const (
	Now     Choice = "now"
	Tonight Choice = "tonight"
	At      Choice = "at"
	NotNow  Choice = "not now"
	Decline Choice = "decline"
)

// Update is one offer as the owner sees it.
type Update struct {
	ID      string   `json:"id"`
	UnitID  string   `json:"unitId"`
	State   string   `json:"state"`
	Choices []Choice `json:"choices"`
}

// AskLink asks for a sign-in mail.
func (o *Owner) AskLink(ctx context.Context, email string) error {
	_, err := o.Do(ctx, http.MethodPost, "/owner/v1/sign-in/link", map[string]string{"email": email}, nil)
	return err
}

// Click opens the page of the link and presses its button.
func (o *Owner) Click(ctx context.Context, token string) error {
	if err := o.Open(ctx, "/my/sign-in"); err != nil {
		return err
	}
	cookie, err := o.Do(ctx, http.MethodPost, "/owner/v1/sign-in", map[string]string{"token": token}, nil)
	if err != nil {
		return err
	}
	o.Cookie = cookie
	return nil
}

// Open gets a page; what it says does not matter here.
func (o *Owner) Open(ctx context.Context, path string) error {
	_, err := o.Do(ctx, http.MethodGet, path, nil, nil)
	if Code(err) == http.StatusNotFound {
		return nil // a server built without its pages still has the interface
	}
	return err
}

// Updates lists what is offered.
func (o *Owner) Updates(ctx context.Context) ([]Update, error) {
	var out Page[Update]
	_, err := o.Do(ctx, http.MethodGet, "/owner/v1/updates", nil, &out)
	return out.Items, err
}

// Choose answers an offer; at is sent with the choice "at" only.
func (o *Owner) Choose(ctx context.Context, id string, choice Choice, at time.Time) error {
	in := map[string]any{"choice": choice}
	if choice == At {
		in["at"] = at.UTC().Format(time.RFC3339)
	}
	_, err := o.Do(ctx, http.MethodPost, "/owner/v1/updates/"+url.PathEscape(id), in, nil)
	return err
}
