package update

import "fettle.dev/fettle/internal/update/spec"

// What a release says and how it is judged stands in package spec; these are
// its names here.
type (
	// Release is spec's.
	Release = spec.Release
	// ReleaseKind is spec's.
	ReleaseKind = spec.ReleaseKind
	// ReleasePart is spec's.
	ReleasePart = spec.ReleasePart
	// Precondition is spec's.
	Precondition = spec.Precondition
	// Settings is spec's.
	Settings = spec.Settings
	// Withdrawal is spec's.
	Withdrawal = spec.Withdrawal
	// PartState is spec's.
	PartState = spec.PartState
	// Refusal is spec's.
	Refusal = spec.Refusal //nolint:errname // as there
	// Code is spec's.
	Code = spec.Code
	// Recurs is spec's.
	Recurs = spec.Recurs
	// Judge is spec's.
	Judge = spec.Judge
)

// The kinds of a release.
const (
	Security = spec.Security
	Safety   = spec.Safety
	Fix      = spec.Fix
	Feature  = spec.Feature
)

// The codes of refusals.
const (
	CodeUnknown      = spec.CodeUnknown
	CodeInactive     = spec.CodeInactive
	CodeProduct      = spec.CodeProduct
	CodeHardware     = spec.CodeHardware
	CodeVersion      = spec.CodeVersion
	CodeFrom         = spec.CodeFrom
	CodeRequires     = spec.CodeRequires
	CodeDowngrade    = spec.CodeDowngrade
	CodeWithdrawn    = spec.CodeWithdrawn
	CodeSkilled      = spec.CodeSkilled
	CodeInUse        = spec.CodeInUse
	CodePrecondition = spec.CodePrecondition
	CodeUnknownState = spec.CodeUnknownState
)

// ValidateRelease finds every mistake of a release; see package spec.
var ValidateRelease = spec.ValidateRelease

// SettingText is a setting's value as JSON; see package spec.
var SettingText = spec.SettingText

var clip = spec.Clip
