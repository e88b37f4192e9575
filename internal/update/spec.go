package update

import "fettle.dev/fettle/internal/update/spec"

// What a release says and how it is judged stands in package spec; these are
// its names here.
type (
	Release      = spec.Release
	ReleaseKind  = spec.ReleaseKind
	ReleasePart  = spec.ReleasePart
	Precondition = spec.Precondition
	Settings     = spec.Settings
	Withdrawal   = spec.Withdrawal
	PartState    = spec.PartState
	Refusal      = spec.Refusal
	Code         = spec.Code
	Recurs       = spec.Recurs
	Judge        = spec.Judge
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
