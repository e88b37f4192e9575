package api

import (
	"net/http"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

const (
	GET    = http.MethodGet
	POST   = http.MethodPost
	PUT    = http.MethodPut
	DELETE = http.MethodDelete
)

type none struct{}

type idParam struct {
	ID string `path:"id"`
}
type nameParam struct {
	Name string `path:"name"`
}

func (s *server) session() {
	type link struct{ Body Link }
	type oneTime struct{ Body OneTime }
	do(s, route{method: POST, path: "/v1/sign-in/link", id: "askOperatorLink", summary: "Mail a one-time link", doc: "Always 202, whether the address is known or not.", tag: "session", access: anyone, status: 202}, soonDo[link])
	add(s, route{method: POST, path: "/v1/sign-in", id: "signInOperator", summary: "Use a one-time link up", doc: "Sets the session cookie.", tag: "session", access: anyone}, soon[oneTime, Session])
	do(s, route{method: POST, path: "/v1/sign-out", id: "signOutOperator", summary: "End the session", tag: "session", access: read}, soonDo[none])
	add(s, route{method: GET, path: "/v1/session", id: "getSession", summary: "Who is asking", tag: "session", access: read}, soon[none, Session])
}
func (s *server) tokens() {
	type in struct{ Body NewToken }
	add(s, route{method: GET, path: "/v1/tokens", id: "listTokens", summary: "List API tokens", tag: "tokens", access: admin}, soon[PageParams, Page[APIToken]])
	add(s, route{method: POST, path: "/v1/tokens", id: "createToken", summary: "Make an API token", tag: "tokens", access: admin, status: 201}, soon[in, IssuedToken])
	do(s, route{method: DELETE, path: "/v1/tokens/{id}", id: "revokeToken", summary: "Revoke an API token", tag: "tokens", access: admin}, soonDo[idParam])
}

type Document struct {
	APIVersion string   `json:"apiVersion" enum:"fettle.dev/v1"`
	Kind       string   `json:"kind" enum:"Product,Unit,Detector,Release,Campaign"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}
type Metadata struct {
	Name string `json:"name"`
}
type Apply struct {
	Documents []Document `json:"documents"`
	DryRun    bool       `json:"dryRun,omitempty" doc:"Check and show the changes, but change nothing."`
}
type Change struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action" enum:"created,changed,unchanged"`
	Diff   string `json:"diff,omitempty" doc:"What changes, a line a field: - as it was, + as it will be."`
}
type Applied struct {
	Changes []Change `json:"changes"`
	DryRun  bool     `json:"dryRun"`
}
type declaredKind struct {
	Kind string `path:"kind" enum:"product,unit,detector,release,campaign"`
}
type declaredName struct {
	declaredKind
	Name string `path:"name"`
}

func (s *server) declared() {
	type in struct{ Body Apply }
	type list struct {
		declaredKind
		PageParams
	}
	add(s, route{method: POST, path: "/v1/apply", id: "apply", summary: "Apply declared documents", doc: "All or nothing; every mistake is told at once.", tag: "declared", access: write, maxBody: 64 << 20, raw: true}, soon[in, Applied])
	add(s, route{method: GET, path: "/v1/declared/{kind}", id: "listDeclared", summary: "List declared documents of a kind", tag: "declared", access: read}, soon[list, Page[Document]])
	add(s, route{method: GET, path: "/v1/declared/{kind}/{name}", id: "getDeclared", summary: "A declared document", tag: "declared", access: read}, soon[declaredName, Document])
	do(s, route{method: DELETE, path: "/v1/declared/{kind}/{name}", id: "deleteDeclared", summary: "Delete a declared thing", doc: "409 while something uses it: the detail says what.", tag: "declared", access: write}, soonDo[declaredName])
}
func (s *server) units() {
	type list struct {
		PageParams
		Product   string `query:"product"`
		State     string `query:"state" enum:"pending,active,revoked,retired"`
		Batch     string `query:"batch"`
		Hardware  string `query:"hardware"`
		Region    string `query:"region"`
		Version   string `query:"version" doc:"Of the main component."`
		Condition string `query:"condition" enum:"normal,degraded,failed,silent,unknown"`
		Q         string `query:"q" doc:"Part of an id or serial."`
	}
	type series struct {
		idParam
		Signal  string    `query:"signal" required:"true"`
		From    time.Time `query:"from" required:"true"`
		To      time.Time `query:"to" required:"true"`
		Buckets int       `query:"buckets" default:"500" minimum:"1" maximum:"5000" doc:"Most points to return."`
	}
	type latest struct {
		Items []LatestValue `json:"items"`
	}
	type accounts struct {
		PageParams
		Product string `query:"product" required:"true"`
	}
	type batch struct {
		Body struct {
			Units []string `json:"units" minItems:"1" maxItems:"100000"`
		}
	}
	add(s, route{method: GET, path: "/v1/units", id: "listUnits", summary: "List units", tag: "units", access: read}, soon[list, Page[Unit]])
	add(s, route{method: GET, path: "/v1/units/{id}", id: "getUnit", summary: "A unit", tag: "units", access: read}, soon[idParam, UnitDetail])
	add(s, route{method: GET, path: "/v1/units/{id}/latest", id: "getLatest", summary: "Newest value of each signal", tag: "units", access: read}, soon[idParam, List[LatestValue]])
	add(s, route{method: GET, path: "/v1/units/{id}/series", id: "getSeries", summary: "A signal over time, with the bands that applied", tag: "units", access: read}, soon[series, Series])
	add(s, route{method: GET, path: "/v1/units/{id}/accounting", id: "getUnitAccounting", summary: "Accounting of a unit's samples", tag: "units", access: read}, soon[idParam, Account])
	add(s, route{method: GET, path: "/v1/accounting", id: "getAccounting", summary: "Accounting of a product's samples", tag: "units", access: read}, soon[accounts, Accounts])
	add(s, route{method: POST, path: "/v1/units/{id}/token", id: "issueUnitToken", summary: "Issue a unit's token", doc: "Replaces the token it has, and disconnects what uses that.", tag: "units", access: admin}, soon[idParam, UnitToken])
	add(s, route{method: POST, path: "/v1/unit-tokens", id: "issueUnitTokens", summary: "Issue tokens for many units", doc: "All or nothing.", tag: "units", access: admin, maxBody: 16 << 20}, soon[batch, List[UnitToken]])
	for _, verb := range []struct{ verb, id, summary string }{
		{"revoke", "revokeUnit", "Refuse a unit from now on and disconnect it"},
		{"retire", "retireUnit", "Take a unit out of service: it is no longer watched"},
		{"restore", "restoreUnit", "Take a revoked or retired unit back"},
	} {
		add(s, route{method: POST, path: "/v1/units/{id}/" + verb.verb, id: verb.id, summary: verb.summary, tag: "units", access: admin}, soon[idParam, Unit])
	}
}

// List is a list that is never long.
type List[T any] struct {
	Items []T `json:"items"`
}

func (s *server) claims() {
	type token struct {
		nameParam
		Body *NewClaimToken
	}
	type list struct {
		PageParams
		Product string `query:"product"`
		State   string `query:"state" enum:"pending,approved,rejected"`
	}
	type reject struct {
		idParam
		Body *struct {
			Why string `json:"why,omitempty" maxLength:"1000"`
		}
	}
	add(s, route{method: POST, path: "/v1/products/{name}/claim-token", id: "createClaimToken", summary: "Make a claim token", doc: "Units of the product can then ask to be enrolled.", tag: "claims", access: admin, status: 201}, soon[token, ClaimTokenIssued])
	add(s, route{method: GET, path: "/v1/claims", id: "listClaims", summary: "List claims", tag: "claims", access: read}, soon[list, Page[fleet.Claim]])
	add(s, route{method: POST, path: "/v1/claims/{id}/approve", id: "approveClaim", summary: "Approve a claim", doc: "The unit can then use the secret it made.", tag: "claims", access: admin}, soon[idParam, fleet.Claim])
	add(s, route{method: POST, path: "/v1/claims/{id}/reject", id: "rejectClaim", summary: "Reject a claim", tag: "claims", access: admin}, soon[reject, fleet.Claim])
}

type NewClaimToken struct {
	MaxUses int            `json:"maxUses,omitempty" minimum:"1" maximum:"1000000" doc:"Claims it may make (default 1000)."`
	Expires fleet.Duration `json:"expires,omitempty" doc:"How long it is valid (default 7d)."`
}

func (s *server) findings() {
	type list struct {
		PageParams
		Product  string    `query:"product"`
		Unit     string    `query:"unit"`
		Detector string    `query:"detector"`
		State    string    `query:"state" enum:"open,cleared"`
		Severity string    `query:"severity" enum:"warning,minor,major,critical"`
		Shelved  bool      `query:"shelved" doc:"Include shelved findings."`
		From     time.Time `query:"from" doc:"Those that overlap from and to."`
		To       time.Time `query:"to"`
	}
	type shelve struct {
		idParam
		Body struct {
			Until time.Time `json:"until,omitzero" doc:"Absent: back in sight."`
		}
	}
	type assess struct {
		idParam
		Body struct {
			Assessment condition.Assessment `json:"assessment"`
		}
	}
	type comment struct {
		idParam
		Body struct {
			Text string `json:"text" minLength:"1" maxLength:"10000"`
		}
	}
	add(s, route{method: GET, path: "/v1/findings", id: "listFindings", summary: "List findings, newest first", tag: "findings", access: read}, soon[list, Page[Finding]])
	add(s, route{method: GET, path: "/v1/findings/{id}", id: "getFinding", summary: "A finding", tag: "findings", access: read}, soon[idParam, FindingDetail])
	add(s, route{method: POST, path: "/v1/findings/{id}/ack", id: "ackFinding", summary: "Acknowledge a finding", tag: "findings", access: write}, soon[idParam, Finding])
	add(s, route{method: POST, path: "/v1/findings/{id}/unack", id: "unackFinding", summary: "Take an acknowledgement back", tag: "findings", access: write}, soon[idParam, Finding])
	add(s, route{method: POST, path: "/v1/findings/{id}/shelve", id: "shelveFinding", summary: "Put a finding out of sight until a time", tag: "findings", access: write}, soon[shelve, Finding])
	add(s, route{method: POST, path: "/v1/findings/{id}/assess", id: "assessFinding", summary: "Say what a person found", tag: "findings", access: write}, soon[assess, Finding])
	add(s, route{method: POST, path: "/v1/findings/{id}/comments", id: "commentFinding", summary: "Remark on a finding", tag: "findings", access: write, status: 201}, soon[comment, condition.Comment])
	add(s, route{method: GET, path: "/v1/findings/{id}/who-else", id: "whoElse", summary: "A suggested cohort definition", doc: "Evidence over the finding's time and the unit's attributes; edit it and post it to /v1/cohorts.", tag: "cohorts", access: read}, soon[idParam, cohort.Definition])
}
func (s *server) cohorts() {
	type in struct {
		Body struct {
			Definition cohort.Definition `json:"definition"`
		}
	}
	type list struct {
		PageParams
		Product string `query:"product"`
		Name    string `query:"name"`
	}
	type members struct {
		idParam
		PageParams
		List string `query:"list" enum:"in,out,not judgeable"`
	}
	add(s, route{method: POST, path: "/v1/cohorts", id: "createCohort", summary: "Freeze a cohort", doc: "Computed in the background: look at state.", tag: "cohorts", access: write, status: 201}, soon[in, cohort.Snapshot])
	add(s, route{method: GET, path: "/v1/cohorts", id: "listCohorts", summary: "List cohorts, newest first", tag: "cohorts", access: read}, soon[list, Page[cohort.Snapshot]])
	add(s, route{method: GET, path: "/v1/cohorts/{id}", id: "getCohort", summary: "A cohort", tag: "cohorts", access: read}, soon[idParam, cohort.Snapshot])
	do(s, route{method: DELETE, path: "/v1/cohorts/{id}", id: "deleteCohort", summary: "Delete a cohort", tag: "cohorts", access: write}, soonDo[idParam])
	add(s, route{method: GET, path: "/v1/cohorts/{id}/members", id: "listMembers", summary: "List a cohort's members with their reasons", tag: "cohorts", access: read}, soon[members, Page[Member]])
}
func (s *server) campaigns() {
	type list struct {
		PageParams
		Product string `query:"product"`
		State   string `query:"state" enum:"draft,running,paused,canceled,finished"`
	}
	type dry struct {
		nameParam
		Limit int `query:"limit" default:"1000" minimum:"0" maximum:"100000" doc:"Most units listed of each kind."`
	}
	type why struct {
		nameParam
		Body *struct {
			Why string `json:"why,omitempty" maxLength:"1000"`
		}
	}
	type tasks struct {
		nameParam
		PageParams
		State string `query:"state" enum:"planned,blocked,offered,scheduled,snoozed,accepted,installing,claimed,verifying,verified,relapsed,not judgeable,declined,failed,expired,canceled,unreachable"`
		Wave  int    `query:"wave" default:"-1" minimum:"-1" doc:"Index of a wave; -1: all."`
		Unit  string `query:"unit"`
	}
	add(s, route{method: GET, path: "/v1/campaigns", id: "listCampaigns", summary: "List campaigns", tag: "campaigns", access: read}, soon[list, Page[Campaign]])
	add(s, route{method: GET, path: "/v1/campaigns/{name}", id: "getCampaign", summary: "A campaign with its waves, gates and effect", tag: "campaigns", access: read}, soon[nameParam, CampaignDetail])
	add(s, route{method: POST, path: "/v1/campaigns/{name}/dry-run", id: "dryRunCampaign", summary: "Say who would be offered the remedy, who not, and why", tag: "campaigns", access: read}, soon[dry, DryRun])
	for _, verb := range []struct{ verb, summary string }{
		{"start", "Start a campaign"}, {"pause", "Pause a campaign"},
		{"resume", "Resume a paused campaign"}, {"cancel", "Cancel a campaign: what has not begun is withdrawn"},
	} {
		add(s, route{method: POST, path: "/v1/campaigns/{name}/" + verb.verb, id: verb.verb + "Campaign", summary: verb.summary, tag: "campaigns", access: write}, soon[why, Campaign])
	}
	add(s, route{method: GET, path: "/v1/campaigns/{name}/tasks", id: "listTasks", summary: "List a campaign's tasks", tag: "campaigns", access: read}, soon[tasks, Page[Task]])
	add(s, route{method: GET, path: "/v1/campaigns/{name}/report", id: "getReport", summary: "A campaign's report", tag: "campaigns", access: read}, soon[nameParam, Report])
	_ = campaign.Draft
}
func (s *server) backtest() {
	type in struct{ Body BacktestRequest }
	add(s, route{method: POST, path: "/v1/backtest", id: "backtest", summary: "Run a detector over history", doc: "The very findings that live would have given, over history still held and permitted.", tag: "findings", access: read}, soon[in, Backtest])
}
func (s *server) overview() {
	add(s, route{method: GET, path: "/v1/overview", id: "getOverview", summary: "The fleet at a glance", tag: "units", access: read}, soon[none, Overview])
}
func (s *server) routes() {
	type put struct {
		nameParam
		Body NewRoute
	}
	add(s, route{method: GET, path: "/v1/notify/routes", id: "listRoutes", summary: "List where new findings are told", tag: "notify", access: read}, soon[PageParams, Page[notify.Route]])
	add(s, route{method: PUT, path: "/v1/notify/routes/{name}", id: "putRoute", summary: "Make or change a route", tag: "notify", access: admin}, soon[put, notify.Route])
	do(s, route{method: DELETE, path: "/v1/notify/routes/{name}", id: "deleteRoute", summary: "Delete a route", tag: "notify", access: admin}, soonDo[nameParam])
}

// NewRoute says where new findings are told.
type NewRoute struct {
	Product  string             `json:"product,omitempty" doc:"Empty: all products."`
	Severity condition.Severity `json:"severity,omitempty" doc:"Least severity; empty: all."`
	Channel  notify.Channel     `json:"channel"`
	To       string             `json:"to" minLength:"1" maxLength:"2000" doc:"Mail address or URL."`
}

func (s *server) artifacts() {
	type in struct {
		SHA256 string `path:"sha256" pattern:"^[0-9a-f]{64}$"`
	}
	type up struct {
		Filename string `query:"filename" required:"true" minLength:"1" maxLength:"255"`
		RawBody  []byte `contentType:"application/octet-stream"`
	}
	add(s, route{method: POST, path: "/v1/artifacts", id: "uploadArtifact", summary: "Upload an artifact", tag: "artifacts", access: write, status: 201}, soon[up, Artifact])
	add(s, route{method: GET, path: "/v1/artifacts/{sha256}", id: "getArtifact", summary: "What is known of an artifact", tag: "artifacts", access: read}, soon[in, Artifact])
}
func (s *server) ownerSession() {
	type link struct{ Body Link }
	type oneTime struct{ Body OneTime }
	do(s, route{method: POST, path: "/owner/v1/sign-in/link", id: "askOwnerLink", summary: "Mail a one-time link", doc: "Always 202, whether the address is known or not.", tag: "owner", access: anyone, status: 202}, soonDo[link])
	add(s, route{method: POST, path: "/owner/v1/sign-in", id: "signInOwner", summary: "Use a one-time link up", doc: "Sets the session cookie.", tag: "owner", access: anyone}, soon[oneTime, Me])
	do(s, route{method: POST, path: "/owner/v1/sign-out", id: "signOutOwner", summary: "End the session", tag: "owner", access: owner}, soonDo[none])
	add(s, route{method: GET, path: "/owner/v1/me", id: "getMe", summary: "The owner and their units", tag: "owner", access: owner}, soon[none, Me])
}
func (s *server) ownerUnits() {
	type put struct {
		idParam
		Purpose string `path:"purpose"`
		Body    ConsentChoice
	}
	add(s, route{method: GET, path: "/owner/v1/units/{id}", id: "getMyUnit", summary: "A unit: its condition, and what is collected and why", tag: "owner", access: owner}, soon[idParam, MyUnit])
	add(s, route{method: PUT, path: "/owner/v1/units/{id}/consents/{purpose}", id: "putConsent", summary: "Give or withdraw consent", doc: "The answer is the receipt.", tag: "owner", access: owner}, soon[put, consent.Choice])
}
func (s *server) ownerUpdates() {
	type choose struct {
		idParam
		Body UpdateChoice
	}
	type list struct {
		PageParams
		Unit string `query:"unit"`
	}
	add(s, route{method: GET, path: "/owner/v1/updates", id: "listMyUpdates", summary: "Updates of the owner's units, newest first", tag: "owner", access: owner}, soon[list, Page[MyUpdate]])
	add(s, route{method: POST, path: "/owner/v1/updates/{id}", id: "chooseUpdate", summary: "Start an update now, set a time, postpone or decline it", tag: "owner", access: owner}, soon[choose, MyUpdate])
}
