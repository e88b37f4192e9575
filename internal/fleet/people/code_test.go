package people_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/people"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func TestCodesAreReadAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	code := people.NewCode()
	require.Regexp(t, `^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){3}$`, code)
	require.NotEqual(t, code, people.NewCode())
	bare := strings.ReplaceAll(code, "-", "")
	for _, typed := range []string{
		bare, strings.ToLower(code), " " + bare[:7] + "\u00a0" + bare[7:] + "\n", strings.ReplaceAll(code, "-", "\u2013"),
		strings.NewReplacer("0", "O", "1", "l").Replace(code), strings.NewReplacer("0", "o", "1", "I").Replace(code),
	} {
		got, err := people.ParseCode(typed)
		require.NoError(t, err, typed)
		require.Equal(t, code, got)
	}
	for _, typed := range []string{"", bare[:19], bare + "0", code + "U", "ÄÖÜ", strings.Repeat("0", 1000)} {
		_, err := people.ParseCode(typed)
		require.Equal(t, fault.Invalid, fault.KindOf(err), typed)
	}
}

// Every single mistyped symbol is noticed, and every swap of two.
func TestMistypedCodesAreNoticed(t *testing.T) {
	t.Parallel()
	for range 20 {
		code := []byte(strings.ReplaceAll(people.NewCode(), "-", ""))
		for i := range code {
			was := code[i]
			for j := range alphabet {
				if code[i] = alphabet[j]; code[i] == was {
					continue
				}
				_, err := people.ParseCode(string(code))
				require.Error(t, err, "%s at %d", code, i)
			}
			code[i] = was
			for j := i + 1; j < len(code); j++ {
				if code[i] == code[j] {
					continue
				}
				code[i], code[j] = code[j], code[i]
				_, err := people.ParseCode(string(code))
				require.Error(t, err, "%s, %d and %d swapped", code, i, j)
				code[i], code[j] = code[j], code[i]
			}
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(people.NewCode())
	f.Add("oil-OIL 1 0")
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := people.ParseCode(typed)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		again, err := people.ParseCode(code)
		require.NoError(t, err)
		require.Equal(t, code, again)
	})
}
