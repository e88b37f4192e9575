package app

import (
	"context"
	"fmt"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/update"
)

// notices words what campaigns tell owners.
type notices struct {
	writer   *notify.Writer
	products fleet.Store
	updates  *update.Service
}

var _ campaign.Notices = notices{}

var templates = map[campaign.NoticeKind]notify.Template{
	campaign.NoticeOffer:      notify.UpdateOffer,
	campaign.NoticeReminder:   notify.UpdateReminder,
	campaign.NoticeEscalation: notify.UpdateEscalation,
	campaign.NoticeCountdown:  notify.UpdateCountdown,
	campaign.NoticeDone:       notify.UpdateDone,
	campaign.NoticeFailed:     notify.UpdateFailed,
}

// kinds of messages by kinds of campaigns: a recall is about safety.
var kinds = map[campaign.Kind]notify.Kind{
	campaign.Recall: notify.Safety, campaign.Safety: notify.Safety, campaign.Security: notify.Security,
	campaign.Service: notify.Service, campaign.Feature: notify.Feature,
}

// Tell keeps the mail of a notice, once for its key, in the caller's transaction.
func (n notices) Tell(ctx context.Context, c campaign.Notice) error {
	template, ok := templates[c.Kind]
	if !ok {
		return fmt.Errorf("no words for a notice of kind %q", c.Kind)
	}
	product, err := n.products.Product(ctx, c.Campaign.Product)
	if err != nil {
		return fmt.Errorf("tell owner: %w", err)
	}
	minutes, err := n.updates.Minutes(ctx, &c.Release)
	if err != nil {
		return fmt.Errorf("tell owner: %w", err)
	}
	return n.writer.Update(ctx, template, "task:"+c.Key, c.Owner, notify.Update{
		Title:       fleet.InLanguage(c.Campaign.Title, c.Owner.Locale),
		Reason:      fleet.InLanguage(c.Campaign.Reason, c.Owner.Locale),
		Product:     product.Title,
		Unit:        c.Task.UnitID,
		WhatChanges: fleet.InLanguage(c.Release.Notes, c.Owner.Locale),
		Unavailable: fleet.InLanguage(c.Release.Unavailable, c.Owner.Locale),
		Minutes:     minutes.Minutes,
		Bytes:       c.Size,
		Deadline:    c.Task.Deadline,
		StartsAt:    c.Task.At,
		Why:         c.Task.Why,
		Kind:        kinds[c.Campaign.Kind],
		About:       "campaign/" + c.Campaign.Name,
	})
}

// Delivered reports whether a notice's mail has been sent.
func (n notices) Delivered(ctx context.Context, key string) (bool, error) {
	return n.writer.Sent(ctx, "task:"+key)
}
