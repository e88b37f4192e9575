// Package wire is what the operations of operators and owners take and give, in
// JSON, and its description. Programs that call them use it, too.
package wire

import (
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/stage"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/update"
)

// Link asks for a one-time link by mail.
type Link struct {
	Email string `json:"email" format:"email" maxLength:"254"`
}

// OneTime carries the secret of a one-time link.
type OneTime struct {
	Token string `json:"token" minLength:"1" maxLength:"512" doc:"What follows # in the link."`
	Code  string `json:"code,omitempty" maxLength:"40" doc:"Of an operator's authenticator, where a link by mail asks for it."`
}

// Session says who is asking.
type Session struct {
	Email       string              `json:"email"`
	Scope       access.Scope        `json:"scope" doc:"The widest that the role, or the token, holds."`
	Role        access.Role         `json:"role,omitempty" doc:"Of an operator."`
	Permissions []access.Permission `json:"permissions,omitempty" doc:"What may be done."`
	Products    []string            `json:"products,omitempty" doc:"Only these are seen; none: all."`
	Regions     []string            `json:"regions,omitempty" doc:"Only units in these are seen; none: all."`
	Via         string              `json:"via" enum:"session,token,app"`
	ExpiresAt   time.Time           `json:"expiresAt,omitzero"`
	Now         time.Time           `json:"now" doc:"The server's clock, which may be scaled under --dev."`
	Speed       float64             `json:"speed" doc:"How fast the server's clock runs; 1 outside --dev."`
}

// NewToken asks for an API token.
type NewToken struct {
	Name        string              `json:"name" minLength:"1" maxLength:"100" doc:"What it is for."`
	Scope       access.Scope        `json:"scope"`
	Permissions []access.Permission `json:"permissions,omitempty" doc:"Narrow the scope to these; none: all of it."`
	Expires     fleet.Duration      `json:"expires,omitempty" doc:"How long it is valid (default 90d, at most 366d)."`
}

// IssuedToken is a new API token with its secret.
type IssuedToken struct {
	access.APIToken
	Token string `json:"token" doc:"The secret; it cannot be shown again."`
}

// Unit is one serial number in an owner's hands.
type Unit struct {
	ID         string              `json:"id"`
	Product    string              `json:"product"`
	Serial     string              `json:"serial"`
	Hardware   string              `json:"hardware,omitempty" doc:"Hardware revision."`
	Batch      string              `json:"batch,omitempty"`
	Region     string              `json:"region,omitempty"`
	Attributes map[string]string   `json:"attributes,omitempty"`
	Versions   map[string]string   `json:"versions,omitempty" doc:"Component to software version, as last reported; the main one is software."`
	VersionAt  time.Time           `json:"versionAt,omitzero" doc:"When versions were last reported."`
	State      fleet.UnitState     `json:"state"`
	Condition  condition.Condition `json:"condition"`
	CreatedAt  time.Time           `json:"createdAt"`
}

// UnitDetail is a unit with all that is known of it now.
type UnitDetail struct {
	Unit
	ConditionWhy string             `json:"conditionWhy"`
	JudgedAt     time.Time          `json:"judgedAt,omitzero" doc:"When data of it was last judged."`
	LastContact  time.Time          `json:"lastContact,omitzero" doc:"When it was last heard of."`
	ClockSkew    *float64           `json:"clockSkewSeconds,omitempty" doc:"How far its clock is ahead of the server's, in seconds (negative: behind, or all it sends is that late), from what it sent in the last hours; left out when it sent nothing with a time of its own since the server started."`
	Owner        *OwnerName         `json:"owner,omitempty"`
	Credential   string             `json:"credential" enum:"none,token,certificate,both" doc:"What it can prove itself by."`
	Permitted    []PermittedPurpose `json:"permitted" doc:"The product's purposes and whether data may be used for them."`
	Exposures    []Exposure         `json:"exposures"`
	Open         []Finding          `json:"open" doc:"Open findings, newest first."`
}

// OwnerName is what operators see of an owner.
type OwnerName struct {
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Locale   string `json:"locale"`
	TimeZone string `json:"timeZone"`
}

// PermittedPurpose is a purpose and the owner's choice.
type PermittedPurpose struct {
	Name      string      `json:"name"`
	Title     string      `json:"title"`
	Basis     fleet.Basis `json:"basis"`
	Permitted bool        `json:"permitted"`
}

// Exposure is how much judged use a unit has had under a detector.
type Exposure struct {
	Detector condition.Ref `json:"detector"`
	Since    time.Time     `json:"since,omitzero" doc:"When counting last began anew: enrolment or new software."`
	Hours    float64       `json:"hours" doc:"Hours of the use that could show the fault."`
	LastAt   time.Time     `json:"lastAt,omitzero" doc:"Event time of the newest row judged."`
}

// LatestValue is the newest value of a signal.
type LatestValue struct {
	Signal   string          `json:"signal"`
	Title    string          `json:"title,omitempty"`
	Type     fleet.ValueType `json:"type"`
	Unit     string          `json:"unit,omitempty" doc:"UCUM code."`
	At       time.Time       `json:"at,omitzero" doc:"Event time; absent where there is no value."`
	Number   *float64        `json:"number,omitempty" doc:"Of numbers and booleans (0 or 1)."`
	Text     *string         `json:"text,omitempty"`
	Withheld bool            `json:"withheld" doc:"The owner permits none of the signal's purposes."`
}

// Series is a signal over time.
type Series struct {
	Signal   string    `json:"signal"`
	Unit     string    `json:"unit,omitempty" doc:"UCUM code."`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Points   []Reading `json:"points"`
	Bands    []Band    `json:"bands" doc:"The band that applied, by tolerance and time, for the operating context the unit was in."`
	Withheld bool      `json:"withheld" doc:"The owner permits none of the signal's purposes: there are no points."`
}

// Reading is a bucket of samples.
type Reading struct {
	At    time.Time `json:"at" doc:"Start of the bucket."`
	Min   float64   `json:"min"`
	Max   float64   `json:"max"`
	Mean  float64   `json:"mean"`
	Count int64     `json:"count" doc:"Samples in it."`
}

// Band is a tolerance's bounds during a time.
type Band struct {
	Tolerance string    `json:"tolerance"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Min       *float64  `json:"min,omitempty"`
	Max       *float64  `json:"max,omitempty"`
	When      string    `json:"when,omitempty" doc:"The operating context, in CEL."`
}

// Account counts samples: acknowledged = stored + notConsented + undeclared + duplicate + invalid.
type Account struct {
	UnitID       string `json:"unitId"`
	Acknowledged int64  `json:"acknowledged"`
	Stored       int64  `json:"stored"`
	NotConsented int64  `json:"notConsented"`
	Undeclared   int64  `json:"undeclared"`
	Duplicate    int64  `json:"duplicate"`
	Invalid      int64  `json:"invalid"`
}

// Accounts is a product's accounting, whole and by unit.
type Accounts struct {
	Total Account   `json:"total"`
	Items []Account `json:"items"`
	Next  string    `json:"next,omitempty" doc:"Give it as after to get the next page; absent on the last."`
}

// UnitToken is a unit's new token, shown once.
type UnitToken struct {
	UnitID string `json:"unitId"`
	Token  string `json:"token" doc:"MQTT password, HTTP basic password and DDI target token; it cannot be shown again."`
}

// ClaimTokenIssued lets units of a product ask to be enrolled.
type ClaimTokenIssued struct {
	ID        string    `json:"id"`
	Product   string    `json:"product"`
	Token     string    `json:"token" doc:"The secret; it cannot be shown again."`
	MaxUses   int       `json:"maxUses"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Finding is a finding with its detector's title and signal.
type Finding struct {
	condition.Finding
	Title  string `json:"title" doc:"The detector's title."`
	Signal string `json:"signal,omitempty" doc:"The signal that left its band; absent for silence."`
	Unit   string `json:"unit,omitempty" doc:"UCUM code of peak."`
}

// FindingDetail is a finding with what was said of it.
type FindingDetail struct {
	Finding
	Comments []condition.Comment `json:"comments"`
	Rule     condition.Detector  `json:"rule" doc:"The detector version that opened it."`
	Bands    []fleet.Band        `json:"bands" doc:"The tolerance's bands."`
}

// Member is one unit of a cohort and the reason it stands where it does.
type Member struct {
	UnitID        string      `json:"unitId"`
	List          cohort.List `json:"list"`
	Code          string      `json:"code" doc:"evidence, attributes, no evidence, no consent, silent or too little data."`
	Reason        string      `json:"reason" doc:"In a sentence."`
	ExposureHours float64     `json:"exposureHours" doc:"Hours of judged use in the range."`
}

// Campaign is a campaign and how far it is.
type Campaign struct {
	Name       string            `json:"name"`
	Spec       campaign.Campaign `json:"spec" doc:"As declared."`
	ID         string            `json:"id"`
	State      campaign.State    `json:"state"`
	Why        string            `json:"why,omitempty" doc:"Of the state: who paused it, which gate failed and by what."`
	SnapshotID string            `json:"snapshotId,omitempty" doc:"The cohort frozen at the start."`
	Detector   condition.Ref     `json:"detector" doc:"The detector version frozen at the start."`
	WaveOpen   int               `json:"waveOpen" doc:"Index of the last wave opened, -1 before."`
	CreatedAt  time.Time         `json:"createdAt"`
	StartedAt  time.Time         `json:"startedAt,omitzero"`
	EndedAt    time.Time         `json:"endedAt,omitzero"`
	Planned    int               `json:"planned,omitempty" doc:"Units planned so far."`
	Joined     int               `json:"joined,omitempty" doc:"Units that came to match since, in a dynamic campaign."`
	Closing    bool              `json:"closing,omitempty" doc:"It has ended, and the last of its tasks are being ended."`
	Counts     map[string]int    `json:"counts" doc:"Tasks by state, over all waves."`
	Waiting    *update.Refusal   `json:"waiting,omitempty" doc:"What keeps its release from every unit, whatever owners choose: signatures that are missing."`
	Approval   *access.Approval  `json:"approval,omitempty" doc:"Where four eyes are asked for: who asked for its start, and who decided."`
}

// CampaignDetail is a campaign with its waves and effect.
type CampaignDetail struct {
	Campaign
	Waves  []Wave          `json:"waves"`
	Effect *outcome.Effect `json:"effect,omitempty" doc:"The comparison that decides, once made; before it, the newest for information."`

	Evidence []outcome.Evidence `json:"evidence,omitempty" doc:"That the release does worse than a good one: failed, relapsed, harm."`
	Usual    *outcome.Usual     `json:"usual,omitempty" doc:"What failures are measured by, as known when the campaign began."`
	// EffectFinal tells the two apart.
	EffectFinal bool `json:"effectFinal" doc:"Whether effect is the one that decides."`
	// Refusals say what holds how many units.
	Refusals []campaign.CodeCount `json:"refusals" doc:"How many tasks wait or are blocked, by the code of the reason and state."`
}

// Wave is a step of a campaign.
type Wave struct {
	Index    int            `json:"index"`
	Name     string         `json:"name"`
	Share    float64        `json:"share" doc:"Of the units drawn by lot, 0 to 1."`
	Count    int            `json:"count,omitempty" doc:"Number of units asked for, where the wave has one."`
	Random   bool           `json:"random" doc:"Drawn by lot, and so comparable with other such waves; a wave by list or attribute is not."`
	OpenedAt time.Time      `json:"openedAt,omitzero"`
	PassedAt time.Time      `json:"passedAt,omitzero"`
	Gate     string         `json:"gate" enum:"waiting,open,passed,failed"`
	GateWhy  string         `json:"gateWhy" doc:"In words: what holds, what is missing, what failed."`
	Counts   map[string]int `json:"counts" doc:"Tasks by state."`
	Units    int            `json:"units"`
}

// DryRun is what a start would do.
type DryRun struct {
	SnapshotID   string          `json:"snapshotId" doc:"The cohort's snapshot it would freeze."`
	Detector     condition.Ref   `json:"detector"`
	Waves        []DryRunWave    `json:"waves"`
	OfferedCount int             `json:"offeredCount"`
	NotCount     int             `json:"notCount"`
	NotByCode    map[string]int  `json:"notByCode"`
	Waiting      *update.Refusal `json:"waiting,omitempty" doc:"What would keep the release from all that are offered it, whatever their owners choose: signatures that are missing."`
	Offered      []DryRunOffer   `json:"offered" doc:"At most limit units, by unit, after those that were skipped."`
	Not          []DryRunRefusal `json:"not" doc:"At most limit units, after those that were skipped."`
}

// DryRunWave is a wave with its number of units.
type DryRunWave struct {
	Name   string `json:"name"`
	Units  int    `json:"units"`
	Random bool   `json:"random" doc:"Drawn by lot, and so comparable with other such waves; a wave by list or attribute is not."`
}

// DryRunOffer is a unit that would be offered the remedy.
type DryRunOffer struct {
	UnitID string `json:"unitId"`
	Wave   int    `json:"wave" doc:"Index of its wave."`
}

// DryRunRefusal is a unit that would not, and why.
type DryRunRefusal struct { //nolint:errname // it is one for units, not of ours
	UnitID string `json:"unitId"`
	update.Refusal
}

// Task is one unit's remedy.
type Task struct {
	campaign.Task
	WaveName string `json:"waveName"`
}

// Report is the completion of a campaign as a regulator would ask.
type Report struct {
	Campaign             string         `json:"campaign"`
	Title                string         `json:"title"`
	At                   time.Time      `json:"at"`
	Involved             int            `json:"involved" doc:"Units in the frozen cohort."`
	Offered              int            `json:"offered"`
	Started              int            `json:"started"`
	Claimed              int            `json:"claimed" doc:"The unit's client said it succeeded."`
	Installed            int            `json:"installed" doc:"The unit reported the new version."`
	Verified             int            `json:"verified" doc:"The same detector, quiet over the required exposure."`
	Relapsed             int            `json:"relapsed"`
	NotJudgeable         int            `json:"notJudgeable"`
	NotExposed           int            `json:"notYetExposed"`
	Declined             int            `json:"declined"`
	Failed               int            `json:"failed"`
	Unreachable          int            `json:"unreachable" doc:"TTLUNREACH of the quarterly file (49 CFR 573.7): units whose owners no step of the ladder reached; reach says how far it came."`
	Reach                ladder.Reach   `json:"reach" doc:"How far the owners could be reached: as of now, also once the campaign has ended."`
	Effect               outcome.Effect `json:"effect"`
	ByWave               []ReportWave   `json:"byWave"`
	OnsetToFindingP50    float64        `json:"onsetToFindingP50" doc:"Seconds."`
	FindingToVerifiedP50 float64        `json:"findingToVerifiedP50" doc:"Seconds."`
}

// ReportWave is the completion of one wave.
type ReportWave struct {
	Name      string    `json:"name"`
	OpenedAt  time.Time `json:"openedAt,omitzero"`
	Units     int       `json:"units"`
	Installed int       `json:"installed"`
	Verified  int       `json:"verified"`
	Relapsed  int       `json:"relapsed"`
	Failed    int       `json:"failed"`
	Gate      string    `json:"gate" doc:"passed, open, failed or waiting; with the reason."`
}

// Overview is the fleet at a glance.
type Overview struct {
	At       time.Time         `json:"at"`
	Products []ProductOverview `json:"products"`
}

// ProductOverview is a product at a glance.
type ProductOverview struct {
	Name       string         `json:"name"`
	Title      string         `json:"title"`
	Units      int            `json:"units" doc:"All states."`
	Conditions map[string]int `json:"conditions" doc:"Active units by condition."`
	States     map[string]int `json:"states" doc:"Units by state."`
	Versions   []VersionCount `json:"versions" doc:"Units by version of the main component, most first."`
	Open       map[string]int `json:"openFindings" doc:"Open findings by severity."`
	Campaigns  []Campaign     `json:"campaigns" doc:"Those running or paused."`
}

// VersionCount is a number of units with a version.
type VersionCount struct {
	Version string `json:"version" doc:"Empty: none reported yet."`
	Units   int    `json:"units"`
}

// Artifact is bytes known by their hashes.
type Artifact struct {
	SHA256   string    `json:"sha256" doc:"Hex; its name."`
	SHA1     string    `json:"sha1"`
	MD5      string    `json:"md5"`
	Size     int64     `json:"size" doc:"Bytes."`
	Filename string    `json:"filename"`
	At       time.Time `json:"at"`
}

// Me is an owner and what is theirs.
type Me struct {
	Email    string      `json:"email"`
	Name     string      `json:"name,omitempty"`
	Locale   string      `json:"locale" doc:"BCP 47 tag."`
	TimeZone string      `json:"timeZone" doc:"IANA name."`
	Now      time.Time   `json:"now" doc:"The server's clock."`
	Units    []OwnedUnit `json:"units"`
}

// OwnedUnit is an owner's unit in a list.
type OwnedUnit struct {
	Role         people.Role         `json:"role" enum:"owner,driver" doc:"What whoever asks is to it."`
	MayUpdate    bool                `json:"mayUpdate" doc:"May start, schedule and postpone updates."`
	OwnedSince   time.Time           `json:"ownedSince,omitzero" doc:"Nothing from before this is shown: another had the unit."`
	ID           string              `json:"id"`
	Serial       string              `json:"serial"`
	Product      string              `json:"product"`
	ProductTitle string              `json:"productTitle"`
	Condition    condition.Condition `json:"condition"`
	LastSeen     time.Time           `json:"lastSeen,omitzero"`
	Updates      int                 `json:"updates" doc:"Updates that wait for the owner's choice."`
}

// MyUnit is an owner's unit: its condition, and what is collected and why.
type MyUnit struct {
	OwnedUnit
	Description string            `json:"description,omitempty" doc:"Of the product."`
	Versions    map[string]string `json:"versions,omitempty"`
	Since       time.Time         `json:"since,omitzero" doc:"Since when the condition is not normal."`
	About       string            `json:"about,omitempty" doc:"Title of what was found, where something was."`
	Signals     []MySignal        `json:"signals"`
	Purposes    []MyPurpose       `json:"purposes"`
	Notice      string            `json:"notice" doc:"Version of the text shown; give it back with a choice."`
}

// MySignal is what is collected.
type MySignal struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description"`
	Type        fleet.ValueType `json:"type"`
	Unit        string          `json:"unit,omitempty" doc:"UCUM code."`
	Purposes    []string        `json:"purposes"`
	Retention   fleet.Duration  `json:"retention"`
	Kept        bool            `json:"kept" doc:"Whether it is kept under the choices as they stand."`
}

// MyPurpose is why it is collected, with the owner's choice.
type MyPurpose struct {
	Name        string      `json:"name"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Basis       fleet.Basis `json:"basis" doc:"Consent has a switch; necessary has none."`
	Given       bool        `json:"given" doc:"True for necessary purposes."`
	ChosenAt    time.Time   `json:"chosenAt,omitzero"`
}

// ConsentChoice is an owner's choice about a purpose.
type ConsentChoice struct {
	Given  bool   `json:"given"`
	Notice string `json:"notice,omitempty" maxLength:"100" doc:"Version of the text that was shown; consent to one that is not the newest any more is refused."`

	Language string `json:"language,omitempty" maxLength:"35" doc:"The language it was shown in (BCP 47); absent: the owner's."`
}

// MyUpdate is an update offered to an owner.
type MyUpdate struct {
	ID           string             `json:"id"`
	UnitID       string             `json:"unitId"`
	Serial       string             `json:"serial"`
	ProductTitle string             `json:"productTitle"`
	Kind         campaign.Kind      `json:"kind"`
	Title        string             `json:"title" doc:"In the owner's language where there is one, else English."`
	Reason       string             `json:"reason"`
	Version      string             `json:"version"`
	Size         int64              `json:"size" doc:"Bytes."`
	Minutes      int                `json:"minutes" doc:"How long the installation takes: nine of ten took no longer, where that has been measured."`
	Measured     string             `json:"minutesMeasured" enum:"release,product,declared" doc:"Where minutes comes from: nine of ten installations of this release, or of the product's, took no longer; or an estimate."`
	MeasuredOf   int                `json:"minutesOf" doc:"On how many installations it is measured; 0: none."`
	SupportEnd   string             `json:"supportEnd,omitempty" doc:"Last day on which the new version is supported."`
	Waiting      *Waiting           `json:"waiting,omitempty" doc:"What keeps it from the unit at this moment."`
	WhatChanges  string             `json:"whatChanges"`
	Unavailable  string             `json:"unavailable,omitempty" doc:"What will not work meanwhile."`
	State        campaign.TaskState `json:"state"`
	Stage        stage.Stage        `json:"stage" enum:"offered,snoozed,declined,scheduled,accepted,downloading,ready,waiting,countdown,installing,rebooting,verifying,done,rolled_back,safe_state,relapsed,expired,superseded" doc:"Where it stands from the owner's side; it never runs backwards within an attempt."`
	Failure      *stage.Failure     `json:"failure,omitempty" doc:"After a failed attempt: what the unit runs, whether it can be used, what happens next."`
	Attempt      int                `json:"attempt,omitempty"`
	Reminded     int                `json:"reminded,omitempty" doc:"Reminders that could be seen."`
	Why          string             `json:"why,omitempty"`
	LatestStart  time.Time          `json:"latestStart,omitzero" doc:"When accepted: by when the unit will have asked for it, if it is on and connected. Until it begins, the choice can be changed."`
	At           time.Time          `json:"at,omitzero" doc:"The time set, when scheduled; until when, when snoozed."`
	Deadline     time.Time          `json:"deadline,omitzero" doc:"Until when it may be postponed."`
	OfferedAt    time.Time          `json:"offeredAt,omitzero"`
	InstalledAt  time.Time          `json:"installedAt,omitzero"`
	Progress     Progress           `json:"progress"`
	Held         bool               `json:"held,omitempty" doc:"The update has begun, and the unit waits before its next step because the owner asked for it."`
	Choices      []campaign.Choice  `json:"choices" doc:"What the owner may choose now; empty when nothing."`
	Proof        *Proof             `json:"proof,omitempty" doc:"Once it is installed: how far it has been shown that the fault is gone."`
}

// Waiting is what keeps an update from a unit at this moment, and what the
// owner can do.
type Waiting struct {
	Code   update.Code `json:"code" doc:"As precondition, state unknown or withdrawn."`
	Why    string      `json:"why" doc:"In plain English; the words by code are the screens' own."`
	Words  string      `json:"words,omitempty" doc:"What the owner can do, in the owner's language."`
	Signal string      `json:"signal,omitempty"`
	Title  string      `json:"title,omitempty" doc:"What people call the signal."`
	Have   string      `json:"have,omitempty"`
	Op     string      `json:"op,omitempty" doc:"How have must stand to need: >=, >, <=, <, == or !=."`
	Need   string      `json:"need,omitempty"`
	Unit   string      `json:"unit,omitempty" doc:"UCUM unit of measure of have and need."`
	At     time.Time   `json:"at,omitzero" doc:"When the unit sent the value in have."`
	Until  time.Time   `json:"until,omitzero" doc:"When it ends by itself, where that is known."`
}

// Progress is how far an installation is. It never runs backwards.
type Progress struct {
	Done  int    `json:"done"`
	Of    int    `json:"of" doc:"0: the unit does not say."`
	Words string `json:"words,omitempty" doc:"The unit's own words, newest."`
}

// UpdateChoice is an owner's answer to an offer.
type UpdateChoice struct {
	Choice campaign.Choice `json:"choice"`
	At     time.Time       `json:"at,omitzero" doc:"When to start, with choice at."`
}
