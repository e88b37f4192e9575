package privacy

// of is how the rows of a table belong to a person.
type of int

const (
	nobody    of = iota
	owner        // the column holds the owner's id
	byOwner      // the column holds "owner:" and the id
	unit         // the column holds the id of a unit of theirs
	wasUnit      // the column holds the id of a unit that was theirs
	unitKey      // the column holds the key of a unit of theirs
	email        // the column holds their address
	through      // the column refers to rows of another table that are theirs
	inText       // the column's text may name their units: cleared, not deleted
	detectors    // the column holds a detector of a product of theirs
)

// link is one way in which rows of a table belong to a person.
type link struct {
	of     of
	column string
	table  string // through: the table referred to, its key, and how its rows belong to a person
	key    string
	via    *link
	at     string // unit, unitKey, inText: SQL of the time (ms) that a row is of; rows of another owner's time stay
}

// Rule says what becomes of a table when a person is erased. Every table of the
// records has one: TestEveryTableHasARule fails for one that has none.
//
// Without Set and Scrub, rows that belong to the person are deleted. Tables
// stand in the order in which they are worked through: those that others refer
// to come last.
type Rule struct {
	Table string
	Links []link
	Set   map[string]string // columns and the SQL they are set to
	Scrub []string          // fields that are taken out of the JSON of column doc
	None  string            // why nothing of a person stands here; then there is no more to say
	Kept  string            // what stays and why, for the receipt; a code of privacy.Kept
}

func byUnit(table string) Rule {
	return Rule{Table: table, Links: []link{{of: unit, column: "unit_id"}}}
}

func byKey(table string) Rule {
	return Rule{Table: table, Links: []link{{of: unitKey, column: "unit_key"}}}
}

// byUnitAt is of rows that have a time: those of another owner's time with the
// unit are another's.
func byUnitAt(table, at string) Rule {
	return Rule{Table: table, Links: []link{{of: unit, column: "unit_id", at: at}}}
}

func by(table, column string) Rule {
	return Rule{Table: table, Links: []link{{of: owner, column: column}}}
}

func none(why string, tables ...string) (out []Rule) {
	for _, t := range tables {
		out = append(out, Rule{Table: t, None: why})
	}
	return out
}

// Reasons for None.
const (
	declared  = "what the maker declares"
	operators = "of operators, not of owners"
	machinery = "the program's own state"
	things    = "of the thing: says nothing of who has it"
	aliased   = "names people by an alias that is destroyed with them"
)

// Plan is what becomes of every table. Whoever adds a table adds its rule.
func Plan() []Rule {
	finding := &link{of: unit, column: "unit_id", at: "onset"}
	assigned := &link{of: unit, column: "unit_id", at: "updated"}
	rules := []Rule{
		// What was found and foreseen.
		{Table: "condition_comment", Links: []link{{of: through, column: "finding_id", table: "condition_finding", key: "id", via: finding}}},
		byUnitAt("condition_finding", "onset"), byUnitAt("condition_risk", "at"), byUnitAt("condition_prediction", "at"), byUnitAt("notify_news", "opened_at"),
		byKey("condition_state"), byKey("condition_exposure"),
		{Table: "condition_backtest", Links: []link{{of: detectors, column: "detector"}}},
		{Table: "cohort_member", Links: []link{{of: unit, column: "unit_id", at: "(SELECT s.at FROM cohort_snapshot s WHERE s.id = snapshot)"}}, Set: map[string]string{"reason": "''"}, Kept: "cohorts"},
		// What was done to the unit.
		{Table: "fleet_maintenance", Links: []link{{of: unit, column: "unit_id", at: "at"}}, Set: map[string]string{"note": "''"}, Kept: "maintenance"},
		{
			Table: "campaign_task", Links: []link{{of: owner, column: "owner_id"}, {of: unit, column: "unit_id"}},
			Set: map[string]string{"owner_id": "''"}, Scrub: []string{"ownerId", "why", "details", "refusal", "at", "told"}, Kept: "updates",
		},
		{Table: "update_log", Links: []link{{of: through, column: "assignment_id", table: "update_assignment", key: "id", via: assigned}}},
		{Table: "update_assignment", Links: []link{{of: unit, column: "unit_id", at: "updated"}}, Scrub: []string{"details", "waiting"}, Kept: "updates"},
		// What a unit says of itself it says again.
		{Table: "update_attributes", Links: []link{{of: unit, column: "unit_id"}, {of: wasUnit, column: "unit_id"}}},
		{Table: "fleet_claim", Links: []link{{of: unit, column: "unit_id"}}, Set: map[string]string{"remote_address": "''", "why": "''"}, Kept: "claims"},
		// What the person chose, signed in with and was told.
		{Table: "consent_choice", Links: []link{{of: byOwner, column: "made_by"}}, Set: map[string]string{"made_by": "'erased'"}, Kept: "consents"},
		byUnit("consent_mask"), byUnit("consent_untold"),
		by("campaign_preference", "owner_id"),
		{Table: "access_session", Links: []link{{of: owner, column: "subject"}}},
		{Table: "access_link", Links: []link{{of: owner, column: "subject"}}},
		{Table: "notify_message", Links: []link{{of: inText, column: "body", at: "created_at"}}, Set: map[string]string{"subject": "''", "body": "''", "html": "''"}},
		{Table: "notify_message", Links: []link{{of: owner, column: "owner_id"}, {of: email, column: "recipient"}}},
		// Requests about rights: the receipt is kept apart, without a name.
		by("privacy_request", "owner_id"), by("privacy_restriction", "owner_id"),
		by("audit_person", "owner_id"),
		// The person, and the link to their units.
		{Table: "fleet_unit", Links: []link{{of: owner, column: "owner_id"}}, Set: map[string]string{"owner_id": "NULL"}, Kept: "units"},
		by("fleet_owner", "id"),
	}
	rules = append(planOfOthers(), rules...)
	rules = append(rules, none(declared, "fleet_product", "condition_detector", "update_artifact", "update_release", "update_delta", "campaign_run", "notify_route", "campaign_dynamic")...)
	rules = append(rules, none(operators, "access_operator", "access_token", "cohort_snapshot", "fleet_claim_token", "trust_product")...)
	rules = append(rules, none(machinery, "condition_position", "condition_prognosis", "condition_model", "outcome_record", "update_register_head", "update_duration",
		"trust_metadata", "trust_key", "trust_ceiling", "campaign_unit_change", "device_seen", "update_bench", "update_bench_next", "audit_head", "goose_db_version", "sqlite_sequence", "privacy_erasure")...)
	rules = append(rules, none(things, "fleet_unit_token", "fleet_unit_certificate", "update_counter", "update_register", "update_setting", "trust_reporter")...)
	return append(rules, none(aliased, "audit_entry", "audit_about")...)
}
