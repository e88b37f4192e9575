package privacy

// planOfOthers is the rules of tables that were added after the first; add
// yours here (docs/adr/0023).
func planOfOthers() []Rule {
	rules := []Rule{
		// people on a unit, and how they sign in
		by("people_passkey", "person_id"), by("people_identity", "person_id"),
		{Table: "people_ceremony", Links: []link{{of: owner, column: "person_id"}, {of: email, column: "address"}}},
		byUnit("people_code"), by("people_period", "owner_id"),
		{Table: "people_driver", Links: []link{{of: owner, column: "person_id"}, {of: unit, column: "unit_id"}}},
		{Table: "people_offer", Links: []link{{of: owner, column: "owner_id"}, {of: owner, column: "person_id"}, {of: email, column: "email"}, {of: unit, column: "unit_id"}}},
		by("people_token", "owner_id"),
		// notices, exports and shares
		by("consent_shown", "owner_id"), byUnitAt("consent_withdrawal", "at"), by("consent_export", "owner_id"),
		{Table: "consent_share_use", Links: []link{{of: through, column: "share_id", table: "consent_share", key: "id", via: &link{of: owner, column: "owner_id"}}}},
		by("consent_share", "owner_id"),
		// delivery
		{Table: "notify_address", Links: []link{{of: owner, column: "owner_id"}, {of: email, column: "address"}}},
		by("notify_push", "owner_id"),
		ofMessage("notify_delivery"),
		// what they were told, by whom, where they can be reached
		by("notify_contact", "owner_id"), by("notify_notice", "owner_id"), by("notify_climb", "owner_id"),
		ofMessage("notify_letter"), ofMessage("notify_call"), ofMessage("notify_call_note"),
		// tips
		{Table: "tip_given", Links: []link{{of: owner, column: "owner_id"}, {of: unit, column: "unit_id", at: "at"}}},
		by("tip_off", "owner_id"), byKey("tip_state"),
	}
	rules = append(rules, none(declared, "tip_tip", "consent_notice", "consent_gatekeeper", "notify_endpoint", "notify_template", "notify_ladder")...)
	rules = append(rules, none(operators, "access_secret", "access_recovery", "access_ticket", "access_approval")...)
	return append(rules, none(machinery, "notify_key", "notify_batch", "tip_context")...)
}

// ofMessage is the rule of a table that adds to messages to the person.
func ofMessage(table string) Rule {
	return Rule{Table: table, Links: []link{{of: through, column: "message_id", table: "notify_message", key: "id", via: &link{of: owner, column: "owner_id"}}}}
}
