package privacy

import (
	"slices"
	"time"
)

// ErasureReceipt is what a person gets when they have been erased. It names them by
// Proof alone.
type ErasureReceipt struct {
	ID        string     `json:"id"`
	Proof     string     `json:"proof" doc:"HMAC-SHA256 of the person's email address in lower case, keyed by the secret they were given; hexadecimal."`
	AskedBy   string     `json:"askedBy" enum:"owner,operator"`
	AskedAt   time.Time  `json:"askedAt"`
	EndedAt   time.Time  `json:"endedAt,omitzero"`
	Step      string     `json:"step,omitempty" doc:"What is being done; absent when all is."`
	Done      int        `json:"done" doc:"Steps done."`
	Of        int        `json:"of" doc:"Steps in all."`
	Failed    string     `json:"failed,omitempty" doc:"Why a step is tried again."`
	Erased    []Count    `json:"erased" doc:"What went, by place."`
	Kept      []KeptItem `json:"kept" doc:"What is kept without the person, and why."`
	Searched  int        `json:"searched,omitempty" doc:"Columns that were looked through at the end for the person's id and address; none had them."`
	BackupsAt time.Time  `json:"backupsAt" doc:"By then no backup that has the person can be read any more; one that is restored before is erased from again."`
}

// KeptItem is something that stays when a person is erased.
type KeptItem struct {
	What string `json:"what"`
	Rows int64  `json:"rows"`
	How  string `json:"how"` // what was taken out
	Why  string `json:"why"` // by which law or need
}

// kept says what stays, by the codes of the rules.
var kept = map[string]KeptItem{
	"units":       {What: "the product itself: serial number, type, batch, versions", How: "the link to the owner is gone; attributes that fewer than ten units share are gone", Why: "recalls must reach every unit (EU 2023/988 article 9; UN R156 para. 7.1.2)"},
	"updates":     {What: "that an update was offered to and installed on the unit", How: "owner, choices of time, reasons and the client's words are gone", Why: "register of software versions (UN R156 para. 7.1.2.3), security updates (EU 2024/2847 article 13)"},
	"cohorts":     {What: "that the unit was in a frozen cohort", How: "the reasons are gone", Why: "proof of who was concerned by a recall (EU 2023/988 articles 9 and 20)"},
	"maintenance": {What: "which parts were changed on the unit and when", How: "notes are gone", Why: "safety of the product in use (EU 2023/988 article 9(12))"},
	"claims":      {What: "that the unit was enrolled", How: "network address and remarks are gone", Why: "security of the service: which keys were let in"},
	"consents":    {What: "that consents were given and withdrawn for the unit", How: "by whom is gone", Why: "proof that data was collected with consent (GDPR articles 7(1) and 17(3)(e))"},
}

// Receipt tells of an erasure.
func (j *Job) Receipt() ErasureReceipt {
	r := ErasureReceipt{
		ID: j.ID, Proof: j.Proof, AskedBy: j.AskedBy, AskedAt: j.AskedAt, EndedAt: j.EndedAt, Step: j.Step, Failed: j.Failed,
		Searched: j.Searched, BackupsAt: j.BackupsAt, Erased: []Count{}, Kept: []KeptItem{},
	}
	r.Done, r.Of = j.Progress()
	rows := map[string]int64{}
	var codes []string
	for _, c := range j.Counts {
		if c.Kept == "" {
			r.Erased = append(r.Erased, c)
			continue
		}
		if rows[c.Kept] == 0 {
			codes = append(codes, c.Kept)
		}
		rows[c.Kept] += c.Blanked
	}
	slices.Sort(codes)
	for _, code := range codes {
		item := kept[code]
		item.Rows = rows[code]
		r.Kept = append(r.Kept, item)
	}
	return r
}
