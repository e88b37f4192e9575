// Package outcome says whether a remedy worked: the detector frozen with the
// campaign, on telemetry from after the remedy; the effect against waves that
// were not yet offered it, over the same dates; and the report.
package outcome

import "time"

// Verdict of a comparison.
type Verdict string

// The verdicts.
const (
	Demonstrated    Verdict = "demonstrated"
	NotDemonstrated Verdict = "not demonstrated"
	NoComparison    Verdict = "no comparison"
	Observational   Verdict = "observational" // waves by list or attribute: shown, and no proof of anything
)

// Arm is one side of a comparison: units by the wave they were drawn into,
// whether or not they took the remedy (intention to treat).
type Arm struct {
	Units    int `json:"units"`    // judged: enough exposure in the window
	Breached int `json:"breached"` // of those, with the fault in the window
}

// Effect compares offered with not yet offered waves over the same dates.
type Effect struct {
	Verdict    Verdict   `json:"verdict"`
	Why        string    `json:"why"`
	From       time.Time `json:"from,omitzero"`
	To         time.Time `json:"to,omitzero"`
	Offered    Arm       `json:"offered"`
	NotOffered Arm       `json:"notOffered"`
	Difference float64   `json:"difference"` // share breached not offered minus offered
	Low        float64   `json:"low"`        // 95 % interval of Difference (Newcombe 1998, method 10)
	High       float64   `json:"high"`
	P          float64   `json:"p"` // Fisher's exact test, two-sided
}

// Report is the completion of a campaign as a regulator would ask.
type Report struct {
	Campaign             string       `json:"campaign"`
	Title                string       `json:"title"`
	At                   time.Time    `json:"at"`
	Involved             int          `json:"involved"`
	Offered              int          `json:"offered"`
	Started              int          `json:"started"`
	Claimed              int          `json:"claimed"`
	Installed            int          `json:"installed"`
	Verified             int          `json:"verified"`
	Relapsed             int          `json:"relapsed"`
	NotJudgeable         int          `json:"notJudgeable"`
	NotExposed           int          `json:"notYetExposed"`
	Declined             int          `json:"declined"`
	Failed               int          `json:"failed"`
	Unreachable          int          `json:"unreachable"`
	Effect               Effect       `json:"effect"`
	ByWave               []WaveReport `json:"byWave"`
	OnsetToFindingP50    Seconds      `json:"onsetToFindingP50"`
	FindingToVerifiedP50 Seconds      `json:"findingToVerifiedP50"`
}

// Seconds is a duration as a number.
type Seconds float64

// WaveReport is the completion of one wave.
type WaveReport struct {
	Name                                  string    `json:"name"`
	OpenedAt                              time.Time `json:"openedAt,omitzero"`
	Units                                 int       `json:"units"`
	Installed, Verified, Relapsed, Failed int
	Gate                                  string `json:"gate"` // passed, open, failed, waiting; with the reason
}
