package mqtt

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	mappings = "../../../docs/mappings/"
	payloads = "../../../docs/payloads/"
)

// declared puts the products of one of the documented mappings into the
// house, with units.
func (r *rig) declared(t *testing.T, file string, units ...fleet.Unit) {
	t.Helper()
	text, err := os.ReadFile(mappings + file)
	require.NoError(t, err)
	docs, wrong := declare.ParseFile(file, text)
	require.Empty(t, wrong)
	for i := range docs {
		spec, mistakes := docs[i].Check()
		require.Empty(t, mistakes)
		switch v := spec.(type) {
		case *fleet.Product:
			v.Name = docs[i].Metadata.Name
			require.Empty(t, fleet.ValidateProduct(*v))
			require.NoError(t, r.DB.Fleet().PutProduct(t.Context(), *v))
			r.Gateway.InvalidateProduct(t.Context(), v.Name)
		case *fleet.UnitSpec:
			require.Empty(t, fleet.ValidateUnit(docs[i].Metadata.Name, *v))
			units = append(units, fleet.Unit{ID: docs[i].Metadata.Name, Product: v.Product, Serial: v.Serial})
		}
	}
	for i := range units {
		units[i].Key, units[i].State, units[i].CreatedAt = int64(i+1), fleet.UnitActive, devicetest.Start
		if units[i].Serial == "" {
			units[i].Serial = units[i].ID
		}
	}
	require.NoError(t, r.DB.Fleet().PutUnits(t.Context(), units))
}

// issue gives a unit a token.
func (r *rig) issue(t *testing.T, unit string) string {
	t.Helper()
	token, err := r.Provide.IssueToken(t.Context(), unit)
	require.NoError(t, err)
	return token
}

// pub runs mosquitto_pub against the rig.
func (r *rig) pub(t *testing.T, args ...string) error {
	t.Helper()
	host, port, _ := net.SplitHostPort(r.addr)
	out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", append([]string{"-h", host, "-p", port}, args...)...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (r *rig) version(t *testing.T, unit string) map[string]string {
	t.Helper()
	u, err := r.DB.Fleet().Unit(t.Context(), unit)
	require.NoError(t, err)
	return u.Versions
}

func sorted(values []telemetry.Value) []telemetry.Value {
	slices.SortFunc(values, func(a, b telemetry.Value) int { return map[bool]int{true: -1, false: 1}[a.Signal < b.Signal] })
	return values
}

var versions = []string{"mqttv311", "mqttv5"}

// ThingsBoard's documented command lines, with nothing but the token.
func TestThingsBoardsCommandLines(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			r.declared(t, "thingsboard.yaml", fleet.Unit{ID: "FZ-1", Product: "freezer"})
			token := r.issue(t, "FZ-1")
			send := func(topic, body string) {
				t.Helper()
				require.NoError(t, r.pub(t, "-d", "-q", "1", "-V", version, "-t", topic, "-u", token, "-m", body))
			}
			send("v1/devices/me/telemetry", `{"temperature":-18.5,"door_open":false,"cmp":2}`)
			send("v1/devices/me/telemetry", `[{"temp_f":5},{"door_open":"true"}]`)
			send("v1/devices/me/telemetry", `{"ts":1401624000512,"values":{"temperature":"-17","current_fw_version":"1.3"}}`)
			send("v2/t", `[{"ts":1401624000001,"values":{"temperature":-16}},{"ts":1401624000002,"values":{"temperature":-15,"humidity":40}}]`)
			send("v1/devices/me/attributes", `{"fw_version":"1.4","boot":7,"door_open":true,"model":"x"}`)
			send("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{}}`)
			rows := r.Stream.Rows()
			require.Len(t, rows, 7)
			number := func(signal string, n float64) telemetry.Value { return telemetry.Value{Signal: signal, Number: n} }
			require.Equal(t, []telemetry.Value{{Signal: "compressor", Text: "defrost", IsText: true}, number("door_open", 0), number("temperature", -18.5)}, sorted(rows[0].Values))
			require.InDelta(t, -15, rows[1].Values[0].Number, 1e-9)
			require.Equal(t, []telemetry.Value{number("door_open", 1)}, rows[2].Values)
			require.Equal(t, int64(1401624000512), rows[3].Event)
			require.Equal(t, []telemetry.Value{number("temperature", -17)}, rows[3].Values)
			require.Equal(t, []int64{1401624000001, 1401624000002}, []int64{rows[4].Event, rows[5].Event})
			require.Equal(t, 1, rows[5].Undeclared)
			require.Equal(t, []telemetry.Value{number("door_open", 1)}, rows[6].Values)
			require.Equal(t, 1, rows[6].Undeclared)
			require.Equal(t, map[string]string{"software": "1.4", "bootloader": "7"}, r.version(t, "FZ-1"))
			require.Len(t, r.Stream.Marks(telemetry.MarkVersion), 3)
			require.InDelta(t, 1, r.metric(t, "fettle_ingest_unrouted_total"), 0)
		})
	}
}

// metric is the sum of a counter's series.
func (r *rig) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := r.Metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestAWSShadow(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			r.declared(t, "aws.yaml", fleet.Unit{ID: "HP-1", Product: "heat-pump"}, fleet.Unit{ID: "HP-2", Product: "heat-pump"})
			// As an AWS IoT client names itself; its certificate is a test of TLS.
			as := []string{"-u", "HP-1?SDK=Python&Version=1.4.9", "-P", r.issue(t, "HP-1"), "-i", "HP-1", "-V", version, "-q", "1"}
			send := func(topic string, more ...string) error {
				return r.pub(t, append(append(as, "-t", topic), more...)...)
			}
			require.NoError(t, send("$aws/things/HP-1/shadow/update", "-f", payloads+"aws.json"))
			require.NoError(t, send("$aws/things/HP-1/shadow/name/energy/update", "-m", `{"state":{"reported":{"watts":900,"sampledAt":1401624001.5}}}`))
			require.NoError(t, send("$aws/things/HP-1/shadow/update", "-m", `{"state":{"reported":null}}`))
			rows := r.Stream.Rows()
			require.Len(t, rows, 2)
			require.Equal(t, []telemetry.Value{{Signal: "flow_temperature", Number: 41.5}, {Signal: "heating", Number: 1}, {Signal: "power", Number: 1250}}, sorted(rows[0].Values))
			require.Equal(t, []int64{1401624000000, 1401624001500}, []int64{rows[0].Event, rows[1].Event})
			require.Equal(t, map[string]string{"software": "2.4.1"}, r.version(t, "HP-1"))
			// What else an AWS client asks is acknowledged.
			require.NoError(t, send("$aws/things/HP-1/shadow/get", "-m", ""))
			require.InDelta(t, 1, r.metric(t, "fettle_ingest_unrouted_total"), 0)
			// Another's shadow, and what is not mapped, is refused and counted.
			_ = send("$aws/things/HP-2/shadow/update", "-f", payloads+"aws.json")
			_ = send("$aws/rules/x", "-m", "{}")
			require.Eventually(t, func() bool { return r.metric(t, "fettle_ingest_unrouted_total") >= 3 }, time.Minute, time.Millisecond)
			require.Len(t, r.Stream.Rows(), 2)
			c := r.dial(t, version == "mqttv5")
			c.write(connectBytes(c.v5, "c", "HP-2", r.issue(t, "HP-2"), 60))
			c.ack()
			c.write(subscribeBytes(c.v5, 1, "$aws/things/HP-2/shadow/update/+", "$aws/things/HP-2/#", "$aws/things/+/shadow/get", "$aws/things/HP-1/#", "v1/devices/me/rpc/request/+", "v2/fw/response/+", "$SYS/#"))
			_, body := c.next()
			no := map[bool]byte{false: reasonUnspecified, true: reasonNotAuthorized}[c.v5]
			require.Equal(t, []byte{0, 0, no, no, 0, 0, no}, body[len(body)-7:])
		})
	}
}

func TestAzureEvents(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			r.declared(t, "azure.yaml", fleet.Unit{ID: "AC-1", Product: "compressor"})
			require.NoError(t, r.pub(t, "-u", "hub.azure-devices.net/AC-1/?api-version=2021-04-12", "-P", r.issue(t, "AC-1"), "-i", "AC-1", "-V", version, "-q", "1",
				"-t", "devices/AC-1/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&temperatureAlert=true", "-f", payloads+"azure.json"))
			rows := r.Stream.Rows()
			require.Len(t, rows, 2)
			require.Equal(t, []telemetry.Value{{Signal: "alarm", Number: 1}, {Signal: "pressure", Number: 7.25}, {Signal: "running", Number: 1}}, sorted(rows[0].Values))
			require.Equal(t, []int64{1401623940000, 41, 1401624000000, 42}, []int64{rows[0].Event, rows[0].Sequence, rows[1].Event, rows[1].Sequence})
			require.Equal(t, 1, rows[1].Undeclared)
			require.Equal(t, map[string]string{"software": "7.1"}, r.version(t, "AC-1"))
		})
	}
}

// A network server sends for the units of products that name it as relay, and
// for no others; what is refused of one unit does not end its connection.
func TestChirpStackRelays(t *testing.T) {
	t.Parallel()
	for name, v5 := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			r.declared(t, "chirpstack.yaml",
				fleet.Unit{ID: "24e124785d291835", Product: "soil-probe"}, fleet.Unit{ID: "24e124785d291836", Product: "soil-probe"}, fleet.Unit{ID: "other", Product: devicetest.Product})
			token := r.issue(t, "chirpstack-1")
			body, err := os.ReadFile(payloads + "chirpstack.json")
			require.NoError(t, err)
			up := func(eui string) string {
				return "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/" + eui + "/event/up"
			}
			version := map[bool]string{false: "mqttv311", true: "mqttv5"}[v5]
			require.NoError(t, r.pub(t, "-u", "chirpstack-1", "-P", token, "-V", version, "-q", "1", "-t", up("24e124785d291835"), "-m", string(body)))
			rows := r.Stream.Rows()
			require.Len(t, rows, 1)
			require.Equal(t, int64(1), rows[0].Unit)
			require.Equal(t, int64(1401624000250), rows[0].Event)
			require.Equal(t, int64(172), rows[0].Sequence)
			require.Equal(t, []telemetry.Value{{Signal: "battery", Number: 3.5}, {Signal: "moisture", Number: 31.5}, {Signal: "soil_temperature", Number: 12.25}}, sorted(rows[0].Values))
			require.Equal(t, map[string]string{"software": "1.8"}, r.version(t, "24e124785d291835"))

			c := r.dial(t, v5)
			c.write(connectBytes(v5, "c", "chirpstack-1", token, 60))
			c.ack()
			require.NoError(t, r.Provide.RevokeUnit(t.Context(), "24e124785d291836"))
			id := uint16(0)
			refused := func(topic string) {
				t.Helper()
				id++
				c.write(publishBytes(v5, 1, id, topic, string(body)))
				kind, answer := c.next()
				require.Equal(t, byte(typePuback), kind)
				if v5 {
					require.Equal(t, byte(reasonNotAuthorized), answer[2])
				}
			}
			refused(up("24e124785d291836"))                                                      // revoked
			refused(up("24e124785d291837"))                                                      // unknown
			refused(up("other"))                                                                 // of a product without relays
			refused(up("chirpstack-1"))                                                          // itself
			refused("application/x/device/24e124785d291835/state/x")                             // not mapped
			c.write(publishBytes(v5, 0, 0, "application/x/device/y/event/status", "{}"))         // nor this
			c.write(publishBytes(v5, 1, 9, up("24e124785d291835"), `{"object":{"moisture":1}}`)) // goes on
			kind, _ := c.next()
			require.Equal(t, byte(typePuback), kind)
			require.Len(t, r.Stream.Rows(), 2)
			require.InDelta(t, 6, r.metric(t, "fettle_ingest_unrouted_total"), 0)

			// A probe sends for itself and for nobody else; the product that no
			// longer names the relay is closed to it at once.
			probe := r.dial(t, v5)
			probe.write(connectBytes(v5, "c", "24e124785d291835", r.issue(t, "24e124785d291835"), 60))
			probe.ack()
			probe.write(publishBytes(v5, 1, 1, up("24e124785d291835"), `{"object":{"moisture":2}}`))
			kind, _ = probe.next()
			require.Equal(t, byte(typePuback), kind)
			probe.write(publishBytes(v5, 0, 0, up("24e124785d291836"), `{"object":{"moisture":3}}`))
			probe.closed(reasonNotAuthorized)
			p, err := r.DB.Fleet().Product(t.Context(), "soil-probe")
			require.NoError(t, err)
			p.Relays = nil
			require.NoError(t, r.DB.Fleet().PutProduct(t.Context(), p))
			r.Gateway.InvalidateProduct(t.Context(), p.Name)
			c.write(publishBytes(v5, 0, 0, up("24e124785d291835"), `{"object":{"moisture":4}}`))
			c.closed(reasonNotAuthorized)
			require.Len(t, r.Stream.Rows(), 3)
		})
	}
}
