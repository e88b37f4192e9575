package wire

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/condition/prognosis/spec"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/aggregate"
	"fettle.dev/fettle/internal/consent/datasheet"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust"
)

func init() {
	// Lists are always sent as lists, so that clients need not look for null.
	huma.DefaultArrayNullable = false
}

const schemaPrefix = "#/components/schemas/"

// named registers an enumeration under its own name and refers to it, so that
// generated clients get one type for it.
func named(r huma.Registry, name, doc string, values ...string) *huma.Schema {
	if _, ok := r.Map()[name]; !ok {
		s := &huma.Schema{Type: huma.TypeString, Description: doc}
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
		s.PrecomputeMessages()
		r.Map()[name] = s
	}
	return &huma.Schema{Ref: schemaPrefix + name}
}

// The types below stand for domain types in the schema only: the domain knows
// nothing of HTTP.
type (
	durationSchema       string
	unitStateSchema      string
	severitySchema       string
	findingStateSchema   string
	assessmentSchema     string
	listSchema           string
	campaignStateSchema  string
	campaignKindSchema   string
	taskStateSchema      string
	choiceSchema         string
	channelSchema        string
	verdictSchema        string
	releaseKindSchema    string
	valueTypeSchema      string
	basisSchema          string
	detectorTypeSchema   string
	conditionStateSchema string
	scopeSchema          string

	maintenanceKindSchema   string
	maintenanceReasonSchema string
	riskStateSchema         string
	modelStateSchema        string
	lifeBySchema            string
	jobStateSchema          string
)

func (durationSchema) Schema(r huma.Registry) *huma.Schema {
	if _, ok := r.Map()["Duration"]; !ok {
		r.Map()["Duration"] = &huma.Schema{
			Type: huma.TypeString, Description: "A length of time, as 90d, 36h, 10m or 1d12h; a day is 24 hours.",
			Examples: []any{"90d"},
		}
		r.Map()["Duration"].PrecomputeMessages()
	}
	return &huma.Schema{Ref: schemaPrefix + "Duration"}
}

func (unitStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "UnitState", "Where a unit stands with the service. A pending unit has asked to be enrolled and stores nothing; a revoked one is refused.",
		"pending", "active", "revoked", "retired")
}

func (severitySchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Severity", "X.733 perceived severity, mildest first.", "warning", "minor", "major", "critical")
}

func (findingStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "FindingState", "Whether the breach goes on.", "open", "cleared")
}

func (assessmentSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Assessment", "What a person found; empty takes an assessment back.", "confirmed", "no fault found", "")
}

func (listSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "MemberList", "Where a unit stands in a cohort.", "in", "out", "not judgeable")
}

func (campaignStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "CampaignState", "The state of a campaign.", "draft", "planning", "running", "paused", "canceled", "finished")
}

func (campaignKindSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "CampaignKind", "Sets the owner's policy.", "recall", "safety", "security", "service", "feature")
}

func (taskStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "TaskState", "Where one unit's remedy stands.",
		string(campaign.Planned), string(campaign.Blocked), string(campaign.Offered), string(campaign.Scheduled), string(campaign.Snoozed),
		string(campaign.Accepted), string(campaign.Installing), string(campaign.Claimed), string(campaign.Verifying), string(campaign.Verified),
		string(campaign.Relapsed), string(campaign.Unjudged), string(campaign.Declined), string(campaign.FailedTask), string(campaign.Expired),
		string(campaign.Withdrawn), string(campaign.Unreachable), string(campaign.Superseded), string(campaign.Retrying))
}

func (choiceSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Choice", "What an owner may say to an offer. Tonight is 02:00 next in the owner's time zone.", "now", "tonight", "at", "not now", "decline")
}

func (channelSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Channel", "How a message is carried. Voice is a call by a machine, call one by a person.", "mail", "sms", "voice", "push", "webhook", "letter", "call")
}

func (verdictSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Verdict", "What a comparison of waves says.", "demonstrated", "not demonstrated", "no comparison", "observational")
}

func (releaseKindSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "ReleaseKind", "What a release is for.", "security", "safety", "fix", "feature")
}

func (valueTypeSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "ValueType", "The type of a signal's values.", "number", "boolean", "text")
}

func (basisSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Basis", "Consent is a switch the owner holds; necessary is shown with its reason and has no switch.", "consent", "necessary")
}

func (detectorTypeSchema) Schema(r huma.Registry) *huma.Schema {
	var types []string
	for _, t := range condition.Types() {
		types = append(types, string(t))
	}
	return named(r, "DetectorType", "The kind of rule.", types...)
}

func (conditionStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Condition", "A unit's health. Unknown: there is no data that may be looked at; never to be shown as normal.",
		"normal", "degraded", "failed", "silent", "unknown")
}

func (scopeSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "Scope", "What a token may do: read; write: also changes; admin: also tokens, claims, routes, credentials; hawkbit: the password of tools for hawkBit (/rest/v1), and nothing else.", "read", "write", "admin", "hawkbit")
}

func (jobStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "JobState", "How far a job in the background is.", "waiting", "running", "done", "failed", "cancelled")
}

// schemaNames gives clear names to types whose own says little outside their room.
var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[condition.Ref]():        "DetectorRef",
	reflect.TypeFor[cohort.Definition]():    "CohortDefinition",
	reflect.TypeFor[cohort.Evidence]():      "CohortEvidence",
	reflect.TypeFor[cohort.Attributes]():    "CohortAttributes",
	reflect.TypeFor[outcome.Evidence]():     "GateEvidence",
	reflect.TypeFor[outcome.Limit]():        "GateLimit",
	reflect.TypeFor[campaign.Preferences](): "UpdatePreferences",
	reflect.TypeFor[window.Hours]():         "WorkingHours",
	reflect.TypeFor[outcome.Usual]():        "UsualFailures",
	reflect.TypeFor[cohort.Snapshot]():      "Cohort",
	reflect.TypeFor[campaign.Campaign]():    "CampaignSpec",
	reflect.TypeFor[campaign.Wave]():        "WaveSpec",
	reflect.TypeFor[campaign.Gate]():        "GateSpec",
	reflect.TypeFor[fleet.Product]():        "ProductSpec",
	reflect.TypeFor[condition.Detector]():   "DetectorSpec",
	reflect.TypeFor[update.Release]():       "ReleaseSpec",
	reflect.TypeFor[fleet.Band]():           "BandSpec",
	reflect.TypeFor[consent.Choice]():       "Receipt",
	reflect.TypeFor[notify.Route]():         "NotifyRoute",
	reflect.TypeFor[datasheet.Sheet]():      "DataSheet",
	reflect.TypeFor[datasheet.Item]():       "DataSheetItem",
	reflect.TypeFor[datasheet.Purpose]():    "DataSheetPurpose",
	reflect.TypeFor[datasheet.Recipient]():  "DataSheetRecipient",
	reflect.TypeFor[datasheet.Right]():      "DataSheetRight",
	reflect.TypeFor[takeout.Export]():       "DataExport",
	reflect.TypeFor[takeout.State]():        "DataExportState",
	reflect.TypeFor[share.Use]():            "ShareUse",
	reflect.TypeFor[aggregate.Cell]():       "AggregateGroup",
	reflect.TypeFor[trust.Status]():         "Trust",
	reflect.TypeFor[trust.RootStatus]():     "TrustRoot",
	reflect.TypeFor[trust.Holder]():         "TrustHolder",
	reflect.TypeFor[trust.Targets]():        "TrustTargets",
	reflect.TypeFor[trust.Change]():         "TrustChange",
	reflect.TypeFor[trust.OnlineKey]():      "TrustKey",
	reflect.TypeFor[trust.Requirement]():    "TrustRequirement",
	reflect.TypeFor[trust.Imported]():       "TrustImported",
	reflect.TypeFor[backtest.Threshold]():   "BacktestThreshold",
	reflect.TypeFor[backtest.Result]():      "BacktestResult",
	reflect.TypeFor[backtest.Match]():       "BacktestMatch",
	reflect.TypeFor[backtest.Cost]():        "BacktestCost",
	reflect.TypeFor[backtest.Sweep]():       "BacktestSweep",
	reflect.TypeFor[huma.ErrorModel]():      "Problem",
	reflect.TypeFor[maintenance.Record]():   "MaintenanceRecord",
	reflect.TypeFor[prognosis.Point]():      "SurvivalPoint",
	reflect.TypeFor[prognosis.Group]():      "LifeGroup",
	reflect.TypeFor[prognosis.Fit]():        "WeibullFit",
	reflect.TypeFor[prognosis.Number]():     "ExpectedFailures",
	reflect.TypeFor[prognosis.Figures]():    "ModelFigures",
	reflect.TypeFor[prognosis.Reason]():     "RiskReason",
	reflect.TypeFor[prognosis.Counts]():     "RiskCounts",
	reflect.TypeFor[spec.Prognosis]():       "PrognosisSpec",
	reflect.TypeFor[huma.ErrorDetail]():     "ProblemDetail",
	reflect.TypeFor[template.Spec]():        "TemplateSpec",
	reflect.TypeFor[template.Value]():       "TemplateValue",
	reflect.TypeFor[template.LangTexts]():   "TemplateWords",
	reflect.TypeFor[template.Facts]():       "RecallFacts",
	reflect.TypeFor[template.Mail]():        "MailWords",
	reflect.TypeFor[template.Plain]():       "PlainWords",
	reflect.TypeFor[template.Push]():        "PushWords",
	reflect.TypeFor[template.Letter]():      "LetterWords",
	reflect.TypeFor[template.Script]():      "CallWords",
	reflect.TypeFor[template.SMS]():         "SmsWords",
	reflect.TypeFor[template.Segments]():    "SmsSegments",
	reflect.TypeFor[ladder.Spec]():          "LadderSpec",
	reflect.TypeFor[ladder.Step]():          "LadderStep",
	reflect.TypeFor[ladder.Taken]():         "LadderTaken",
	reflect.TypeFor[ladder.Count]():         "ClimbCount",
	reflect.TypeFor[letter.Batch]():         "LetterBatch",
	reflect.TypeFor[calls.Note]():           "CallNote",
	reflect.TypeFor[lint.Finding]():         "LintFinding",
	reflect.TypeFor[preference.Notice]():    "OwnerNotice",
	reflect.TypeFor[preference.Address]():   "PostalAddress",
	reflect.TypeFor[preference.Contact]():   "OwnerContact",
}

func (maintenanceKindSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "MaintenanceKind", "What a record tells. Installation: a part was put in. Failure: it failed; nothing was put in yet. Replacement: it was taken out, for a reason, and another one put in. Maintenance: it was put right or serviced and stays in.",
		"installation", "failure", "replacement", "maintenance")
}

func (maintenanceReasonSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "MaintenanceReason", "Why a part was replaced. Preventive: it still worked.", "failed", "preventive", "")
}

func (riskStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "RiskState", "Heading: towards failure, which is likelier than not within the horizon. Watch: there is a chance of one in ten that it fails within the horizon. Ok: it should last longer. Unknown: it cannot be told.",
		"heading", "watch", "ok", "unknown")
}

func (modelStateSchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "ModelState", "A champion predicts; a retired one did until a better one came; a rejected one did worse than the champion, or than age alone.",
		"champion", "retired", "rejected")
}

func (lifeBySchema) Schema(r huma.Registry) *huma.Schema {
	return named(r, "LifeBy", "What lives of parts are told apart by.", "batch", "version", "all")
}

// NewRegistry makes the registry that describes the types of this package and
// of the domain under their own names.
func NewRegistry() huma.Registry {
	taken := map[string]reflect.Type{}
	r := huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		base := t
		for base.Kind() == reflect.Pointer {
			base = base.Elem()
		}
		name, ok := schemaNames[base]
		if !ok {
			name = huma.DefaultSchemaNamer(t, hint)
		}
		// Of two types of one name, the later bears its package's before it.
		if other := taken[name]; other != nil && other != base && base.PkgPath() != "" {
			room := base.PkgPath()[strings.LastIndex(base.PkgPath(), "/")+1:]
			name = strings.ToUpper(room[:1]) + room[1:] + name
		}
		taken[name] = base
		return name
	})
	for from, to := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[fleet.Duration]():         reflect.TypeFor[durationSchema](),
		reflect.TypeFor[fleet.UnitState]():        reflect.TypeFor[unitStateSchema](),
		reflect.TypeFor[fleet.ValueType]():        reflect.TypeFor[valueTypeSchema](),
		reflect.TypeFor[fleet.Basis]():            reflect.TypeFor[basisSchema](),
		reflect.TypeFor[condition.Severity]():     reflect.TypeFor[severitySchema](),
		reflect.TypeFor[condition.FindingState](): reflect.TypeFor[findingStateSchema](),
		reflect.TypeFor[condition.Assessment]():   reflect.TypeFor[assessmentSchema](),
		reflect.TypeFor[condition.DetectorType](): reflect.TypeFor[detectorTypeSchema](),
		reflect.TypeFor[cohort.List]():            reflect.TypeFor[listSchema](),
		reflect.TypeFor[campaign.State]():         reflect.TypeFor[campaignStateSchema](),
		reflect.TypeFor[campaign.Kind]():          reflect.TypeFor[campaignKindSchema](),
		reflect.TypeFor[campaign.TaskState]():     reflect.TypeFor[taskStateSchema](),
		reflect.TypeFor[campaign.Choice]():        reflect.TypeFor[choiceSchema](),
		reflect.TypeFor[notify.Channel]():         reflect.TypeFor[channelSchema](),
		reflect.TypeFor[outcome.Verdict]():        reflect.TypeFor[verdictSchema](),
		reflect.TypeFor[update.ReleaseKind]():     reflect.TypeFor[releaseKindSchema](),
		reflect.TypeFor[condition.Condition]():    reflect.TypeFor[conditionStateSchema](),
		reflect.TypeFor[access.Scope]():           reflect.TypeFor[scopeSchema](),
		reflect.TypeFor[backtest.State]():         reflect.TypeFor[jobStateSchema](),
		reflect.TypeFor[maintenance.Kind]():       reflect.TypeFor[maintenanceKindSchema](),
		reflect.TypeFor[maintenance.Reason]():     reflect.TypeFor[maintenanceReasonSchema](),
		reflect.TypeFor[prognosis.State]():        reflect.TypeFor[riskStateSchema](),
		reflect.TypeFor[prognosis.ModelState]():   reflect.TypeFor[modelStateSchema](),
		reflect.TypeFor[prognosis.By]():           reflect.TypeFor[lifeBySchema](),
	} {
		r.RegisterTypeAlias(from, to)
	}
	return r
}

// Spec is the specification of a declared document, as it was written.
type Spec json.RawMessage

// MarshalJSON gives the bytes as they are.
func (s Spec) MarshalJSON() ([]byte, error) { return json.RawMessage(s).MarshalJSON() }

// UnmarshalJSON keeps the bytes as they are.
func (s *Spec) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(s).UnmarshalJSON(b) }

// Schema is one of the kinds' specifications.
func (Spec) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "By kind: ProductSpec, UnitSpec, DetectorSpec, ReleaseSpec, CampaignSpec, TemplateSpec or LadderSpec.",
		AnyOf: []*huma.Schema{
			r.Schema(reflect.TypeFor[fleet.Product](), true, ""),
			r.Schema(reflect.TypeFor[fleet.UnitSpec](), true, ""),
			r.Schema(reflect.TypeFor[condition.Detector](), true, ""),
			r.Schema(reflect.TypeFor[update.Release](), true, ""),
			r.Schema(reflect.TypeFor[campaign.Campaign](), true, ""),
			r.Schema(reflect.TypeFor[template.Spec](), true, ""),
			r.Schema(reflect.TypeFor[ladder.Spec](), true, ""),
		},
	}
}
