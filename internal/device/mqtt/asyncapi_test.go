package mqtt

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/tips"
)

// api/asyncapi.yaml names the topics that are served, its examples are of its
// schemas, and those that units send are understood.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../api/asyncapi.yaml")
	require.NoError(t, err)
	text, err := yaml.YAMLToJSON(raw)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	var spec struct {
		Channels   map[string]struct{ Address string }
		Components struct {
			Messages map[string]struct {
				Examples []struct {
					Name    string
					Payload json.RawMessage
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &spec))
	var topics []string
	for _, c := range spec.Channels {
		topics = append(topics, c.Address)
	}
	require.ElementsMatch(t, []string{TopicTelemetry, TopicEvents, TopicAttributes, TopicDesired, TopicNotice, TopicTips, TopicTipEvents, "v1/devices/me/telemetry", "v1/devices/me/attributes"}, topics)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("asyncapi.json", doc))
	require.Len(t, spec.Components.Messages, 9)
	r := newRig(t, Config{}, nil)
	c := r.connect(t, true, r.Units(1)[0], "c")
	for name, m := range spec.Components.Messages {
		schema, err := compiler.Compile("asyncapi.json#/components/schemas/" + name)
		require.NoError(t, err)
		require.NotEmpty(t, m.Examples)
		for _, e := range m.Examples {
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Payload))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(v), "%s: %s", name, e.Name)
			switch name {
			case "telemetry":
				p := device.NewPayload()
				require.NoError(t, p.Parse(e.Payload))
				require.NotEmpty(t, p.Messages)
				p.Free()
			case "events":
				var p device.EventPayload
				require.NoError(t, p.Parse(e.Payload))
				require.NotEmpty(t, p.Events)
			case "attributes":
				_, err := device.ParseReport(e.Payload)
				require.NoError(t, err)
			case "tips":
				var p struct {
					Tips []tips.Showing `json:"tips"`
				}
				require.NoError(t, json.Unmarshal(e.Payload, &p))
				again, err := json.Marshal(p)
				require.NoError(t, err)
				require.JSONEq(t, string(e.Payload), string(again))
			case "tipEvents":
				reports, err := tips.Parse(e.Payload)
				require.NoError(t, err)
				require.NotEmpty(t, reports)
			case "thingsBoardTelemetry", "thingsBoardAttributes":
				c.write(publishBytes(true, 1, 1, spec.Channels[name].Address, string(e.Payload)))
				kind, body := c.next()
				require.Equal(t, byte(typePuback), kind)
				require.NotContains(t, string(body), "invalid")
				require.True(t, len(body) == 2 || body[2] == reasonOK)
			case "desired":
				d := device.Desired{
					Collect:    []string{"current", "plug_temperature", "charging"},
					Events:     &device.DesiredEvents{Features: []string{"solar_charging"}, Faults: []string{"E01", "F*"}, Log: "warn"},
					Parameters: map[string]json.RawMessage{"max_current": json.RawMessage("16")}, Features: map[string]json.RawMessage{"solar_charging": json.RawMessage("true")},
					Revisions: map[string]int64{"parameter:max_current": 42, "feature:solar_charging": 42},
				}
				require.JSONEq(t, string(d.JSON()), string(e.Payload))
			}
		}
		if name == "telemetry" || name == "events" || name == "attributes" {
			require.Error(t, schema.Validate(map[string]any{}))
		}
	}
}
