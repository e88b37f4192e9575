// Package declare reads declared documents: the kinds there are, their
// envelope, a decoder that lists every mistake with its path, and where in a
// YAML file a path stands. The server and the command line share it, so that
// both say the same.
package declare

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/update"
)

// APIVersion is the version of the documents that this program reads.
const APIVersion = "fettle.dev/v1"

// Kind is a kind of declared document.
type Kind string

// The kinds, in the order in which they refer to each other.
const (
	Product  Kind = "Product"
	Unit     Kind = "Unit"
	Detector Kind = "Detector"
	Release  Kind = "Release"
	Campaign Kind = "Campaign"
	Template Kind = "Template"
	Ladder   Kind = "Ladder"
	Tip      Kind = "Tip"
)

// Kinds lists the kinds: what is applied first stands first.
var Kinds = []Kind{Product, Unit, Detector, Release, Campaign, Template, Ladder, Tip}

// Short gives the words that a kind goes by on the command line: singular, plural, short.
func (k Kind) Short() []string {
	s := strings.ToLower(string(k))
	short := map[Kind]string{Product: "p", Unit: "u", Detector: "d", Release: "r", Campaign: "c", Template: "tpl", Ladder: "lad", Tip: "t"}
	return []string{s, s + "s", short[k]}
}

// ParseKind finds a kind by any of its words.
func ParseKind(word string) (Kind, error) {
	for _, k := range Kinds {
		for _, s := range k.Short() {
			if strings.EqualFold(word, s) {
				return k, nil
			}
		}
	}
	words := make([]string, len(Kinds))
	for i, k := range Kinds {
		words[i] = k.Short()[0]
	}
	return "", fault.New(fault.Invalid, "%q is not a kind: expected %s", word, strings.Join(words, ", "))
}

// New makes an empty specification of the kind; nil for an unknown kind.
func (k Kind) New() any {
	switch k {
	case Product:
		return &fleet.Product{}
	case Unit:
		return &fleet.UnitSpec{}
	case Detector:
		return &condition.Detector{}
	case Release:
		return &update.Release{}
	case Campaign:
		return &campaign.Campaign{}
	case Template:
		return &template.Spec{}
	case Ladder:
		return &ladder.Spec{}
	case Tip:
		return &tip.Tip{}
	default:
		return nil
	}
}

// Metadata names a document.
type Metadata struct {
	Name string `json:"name" doc:"Unique among its kind; a unit's id."`
}

// Document is a declared document with its specification still as written.
type Document struct {
	APIVersion string          `json:"apiVersion" enum:"fettle.dev/v1"`
	Kind       Kind            `json:"kind" enum:"Product,Unit,Detector,Release,Campaign,Template,Ladder,Tip"`
	Metadata   Metadata        `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
}

// Names are used in addresses, topics and file names; units' ids may hold
// capitals, as serials do.
var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	unitPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)
)

// Check lists the mistakes of the envelope, and decodes the specification.
// Spec is nil when the kind is unknown.
func (d *Document) Check() (spec any, mistakes []fault.Field) {
	if d.APIVersion != APIVersion {
		mistakes = append(mistakes, fault.Field{Path: "apiVersion", Expected: APIVersion, Got: show(d.APIVersion)})
	}
	spec = d.Kind.New()
	if spec == nil {
		words := make([]string, len(Kinds))
		for i, k := range Kinds {
			words[i] = string(k)
		}
		return nil, append(mistakes, fault.Field{Path: "kind", Expected: enumOr(strings.Join(words, ","), ""), Got: show(string(d.Kind)) + didYouMean(string(d.Kind), words)})
	}
	pattern, words := namePattern, "1 to 63 small letters, digits, '-' and '.', beginning and ending with a letter or digit"
	if d.Kind == Unit {
		pattern, words = unitPattern, "1 to 64 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
	}
	if !pattern.MatchString(d.Metadata.Name) {
		mistakes = append(mistakes, fault.Field{Path: "metadata.name", Expected: words, Got: show(d.Metadata.Name)})
	}
	if len(d.Spec) == 0 {
		return spec, append(mistakes, fault.Field{Path: "spec", Expected: "the specification of a " + string(d.Kind), Got: "nothing"})
	}
	return spec, append(mistakes, Decode(d.Spec, "spec", spec)...)
}

// String names the document as people do.
func (d *Document) String() string {
	return fmt.Sprintf("%s %s", strings.ToLower(string(d.Kind)), d.Metadata.Name)
}
