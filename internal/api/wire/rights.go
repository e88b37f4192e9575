package wire

import (
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// MyData is what is collected of a unit and why, as its owner reads it.
type MyData struct {
	UnitID       string          `json:"unitId"`
	ProductTitle string          `json:"productTitle"`
	Languages    []string        `json:"languages" doc:"That the notice is written in."`
	Restricted   bool            `json:"restricted" doc:"Its owner had the use of its data restricted: nothing is collected."`
	Notice       MyNotice        `json:"notice"`
	Purposes     []MyPurposeData `json:"purposes"`
	Items        []MyItem        `json:"items" doc:"Everything that the product may collect."`
	Recipients   []MyRecipient   `json:"recipients"`
	Withdrawals  []MyWithdrawal  `json:"withdrawals" doc:"What became of what was collected, the newest first."`
	Receipts     []MyReceipt     `json:"receipts" doc:"The owner's choices, the newest first."`
}

// MyNotice is the text beside the switches.
type MyNotice struct {
	Version     string    `json:"version"`
	Language    string    `json:"language"`
	PublishedAt time.Time `json:"publishedAt"`
	Title       string    `json:"title,omitempty"`
	Paragraphs  []string  `json:"paragraphs"`
	Controller  string    `json:"controller,omitempty"`
	Contact     string    `json:"contact,omitempty"`
	Complaint   string    `json:"complaint,omitempty"`
}

// MyPurposeData is a purpose with its switch.
type MyPurposeData struct {
	Name         string      `json:"name"`
	Title        string      `json:"title"`
	Description  string      `json:"description"`
	Basis        fleet.Basis `json:"basis"`
	Given        bool        `json:"given"`
	ChosenAt     time.Time   `json:"chosenAt,omitzero"`
	Notice       string      `json:"notice,omitempty" doc:"Version that was read when it was chosen."`
	Objected     bool        `json:"objected,omitempty"`
	OnWithdrawal string      `json:"onWithdrawal,omitempty" enum:"erase,keep"`
	KeepReason   string      `json:"keepReason,omitempty"`
	Erases       []string    `json:"erases,omitempty" doc:"What would be erased if it were withdrawn now."`
	Keeps        []string    `json:"keeps,omitempty" doc:"What would be kept, because of keepReason."`
	Ask          bool        `json:"ask" doc:"The notice uses data in more ways than the owner agreed to: what is new is not collected until they choose again."`
	New          []string    `json:"new" doc:"What is new."`
	Items        []string    `json:"items" doc:"What is collected for it."`
}

// MyItem is one kind of data.
type MyItem struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Type        fleet.ValueType `json:"type,omitempty" doc:"Absent of events."`
	Unit        string          `json:"unit,omitempty"`
	Retention   fleet.Duration  `json:"retention"`
	Purposes    []string        `json:"purposes" doc:"Titles."`
	Collected   bool            `json:"collected" doc:"Whether it is collected now."`
	Today       int64           `json:"today" doc:"Values of the last 24 hours."`
	LastAt      time.Time       `json:"lastAt,omitzero"`
	Number      *float64        `json:"number,omitempty"`
	Text        *string         `json:"text,omitempty"`
}

// MyRecipient is a third party that receives data.
type MyRecipient struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Country  string   `json:"country,omitempty"`
	Purposes []string `json:"purposes" doc:"Titles."`
}

// MyWithdrawal is what became of what was collected for a purpose.
type MyWithdrawal struct {
	Purpose string    `json:"purpose"`
	Title   string    `json:"title"`
	At      time.Time `json:"at"`
	Erased  []string  `json:"erased"`
	Kept    []string  `json:"kept"`
	Reason  string    `json:"reason,omitempty"`
	Done    int       `json:"done" doc:"Steps, of total."`
	Total   int       `json:"total"`
	EndedAt time.Time `json:"endedAt,omitzero" doc:"Absent: it is being erased."`
}

// MyReceipt is one choice.
type MyReceipt struct {
	ID       string    `json:"id"`
	Purpose  string    `json:"purpose"`
	Title    string    `json:"title"`
	Given    bool      `json:"given"`
	At       time.Time `json:"at"`
	Notice   string    `json:"notice,omitempty"`
	Language string    `json:"language,omitempty"`
	Import   bool      `json:"import,omitempty" doc:"Agreed to when the unit was handed over."`
}

// ShareSpec is what an owner shares with a third party.
type ShareSpec struct {
	Recipient string    `json:"recipient" minLength:"1" maxLength:"200" doc:"Whom it is shared with."`
	Contact   string    `json:"contact" minLength:"3" maxLength:"300" doc:"Their email address or web address."`
	Signals   []string  `json:"signals,omitempty"`
	Purposes  []string  `json:"purposes,omitempty" doc:"All signals that name one of these, too."`
	Events    bool      `json:"events,omitempty" doc:"Features used, faults and log lines, too."`
	From      time.Time `json:"from,omitzero" doc:"History from here on; absent: all that is the owner's."`
	Until     time.Time `json:"until"`
}

// SharedSample is one message of a unit, as it came.
type SharedSample struct {
	At       time.Time      `json:"at" doc:"Event time."`
	Received time.Time      `json:"received"`
	Sequence int64          `json:"sequence,omitempty"`
	Values   map[string]any `json:"values" doc:"By signal: number, boolean or text."`
}

// SharedColumn describes a signal.
type SharedColumn struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Type        fleet.ValueType `json:"type"`
	Unit        string          `json:"unit,omitempty" doc:"UCUM."`
	Purposes    []string        `json:"purposes"`
	Retention   fleet.Duration  `json:"retention"`
	Available   bool            `json:"available" doc:"Whether its owner permits it to be kept now."`
}

// ShareTerms is what a share gives.
type ShareTerms struct {
	Recipient string         `json:"recipient"`
	UnitID    string         `json:"unitId"`
	Product   string         `json:"product"`
	Serial    string         `json:"serial"`
	From      time.Time      `json:"from,omitzero"`
	Until     time.Time      `json:"until"`
	Events    bool           `json:"events"`
	Signals   []SharedColumn `json:"signals"`
	Rate      float64        `json:"rate" doc:"Requests a second."`
	Streams   int            `json:"streams" doc:"Live streams at once."`
}

// PublishedNotice is one version of a product's notice.
type PublishedNotice struct {
	Version     string    `json:"version"`
	PublishedAt time.Time `json:"publishedAt"`
	ShownAt     time.Time `json:"shownAt,omitzero" doc:"When the first owner saw it; it does not change since."`
	Languages   []string  `json:"languages"`
	Saw         *int      `json:"saw,omitempty" doc:"Owners who saw it, rounded down to 5; absent: fewer than 10."`
}

// ConsentRate is how owners chose about a purpose.
type ConsentRate struct {
	Purpose string   `json:"purpose"`
	Title   string   `json:"title"`
	Basis   string   `json:"basis"`
	K       int      `json:"k" doc:"No figure rests on fewer units."`
	Units   *int     `json:"units,omitempty" doc:"Active units, rounded down to 5; absent: fewer than 10."`
	Given   *int     `json:"given,omitempty" doc:"Rounded down to 5; absent: fewer than 10."`
	Share   *float64 `json:"share,omitempty" doc:"Given of all units, to the percent; absent where either part is fewer than 10 units."`
}
