package mqtt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// userBytes is a CONNECT of an arbitrary client id with a user name and no
// password, as ThingsBoard's clients send it.
func userBytes(v5 bool, user string) []byte {
	level := byte(4)
	if v5 {
		level = 5
	}
	b := append(appendString(nil, "MQTT"), level, 0x82, 0, 60)
	if v5 {
		b = append(b, 0)
	}
	b = appendString(appendString(b, "whoever"), user)
	return append(appendLength([]byte{typeConnect << 4}, len(b)), b...)
}

// A token alone is an identity; a unit's id alone, another's token, and a
// token that was replaced or whose unit was revoked are not.
func TestATokenAlone(t *testing.T) {
	t.Parallel()
	for name, v5 := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			ids := r.Units(3)
			answer := func(b []byte) byte {
				c := r.dial(t, v5)
				c.write(b)
				kind, body := c.next()
				require.Equal(t, byte(typeConnack), kind)
				if body[1] != 0 {
					_, _, err := c.read(30 * time.Second)
					require.Error(t, err)
				}
				return body[1]
			}
			wrong := map[bool]byte{false: refusedCredential, true: reasonBadCredential}[v5]
			require.Zero(t, answer(userBytes(v5, r.Token(ids[0]))))
			for _, user := range []string{"", ids[0], "fut_", "fut_x", r.Token(ids[0])[:46], r.Token(ids[0]) + "x", "x/" + r.Token(ids[0])} {
				require.Equal(t, wrong, answer(userBytes(v5, user)), user)
			}
			old := r.Token(ids[1])
			renewed, err := r.Provide.IssueToken(t.Context(), ids[1])
			require.NoError(t, err)
			require.Equal(t, wrong, answer(userBytes(v5, old)))
			require.Zero(t, answer(userBytes(v5, renewed)))
			require.NoError(t, r.Provide.RevokeUnit(t.Context(), ids[2]))
			inactive := map[bool]byte{false: refusedAuthorized, true: reasonNotAuthorized}[v5]
			require.Equal(t, inactive, answer(userBytes(v5, r.Token(ids[2]))))
			// Azure IoT Hub's user name, and that of AWS IoT's clients.
			require.Zero(t, answer(connectBytes(v5, "c", "hub.azure-devices.net/"+ids[0]+"/?api-version=2021-04-12", r.Token(ids[0]), 60)))
			require.Zero(t, answer(connectBytes(v5, "c", ids[0]+"?SDK=Python&Version=1.4.9", r.Token(ids[0]), 60)))
			require.Equal(t, wrong, answer(connectBytes(v5, "c", "hub.azure-devices.net/"+ids[1]+"/?api-version=2021-04-12", r.Token(ids[0]), 60)))
		})
	}
}
