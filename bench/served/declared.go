package served

import (
	"fmt"

	"fettle.dev/fettle/bench/load"
)

// Product is the name of the product that all units are of.
const Product = "bench-charger"

type document struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       any               `json:"spec"`
}

func declared(kind, name string, spec any) document {
	return document{"fettle.dev/v1", kind, map[string]string{"name": name}, spec}
}

type fields = map[string]any

// bands is what each signal may be; a context narrows some of them.
var bands = map[string][]fields{
	"current":          {{"max": 20}},
	"voltage":          {{"min": 207, "max": 253}},
	"power":            {{"when": "charging > 0.5 && current >= 6.0", "min": 1000, "max": 4600}, {"max": 4600}},
	"plug_temperature": {{"when": "current >= 16.0", "max": 90}, {"max": 70}},
	"energy":           {{"min": 0}},
	"frequency":        {{"min": 49, "max": 51.5}},
	"humidity":         {{"when": "plug_temperature >= 20.0", "max": 80}, {"max": 95}},
	"signal_strength":  {{"min": -95}},
	"charging":         {{"min": 0, "max": 1}},
	"error":            {{"when": "charging > 0.5", "max": 0.5}, {"max": 10}},
}

func declaredProduct() document {
	var signals, tolerances []fields
	for _, name := range load.Signals {
		signals = append(signals, fields{"name": name, "title": name, "description": "What the charger measures.", "type": "number", "purposes": []string{"care"}, "retention": "400d"})
		tolerances = append(tolerances, fields{"name": tolerance(name), "signal": name, "bands": bands[name]})
	}
	return declared("Product", Product, fields{
		"title": "Wall charger",
		"purposes": []fields{{
			"name": "care", "title": "Care", "description": "We look for faults.", "basis": "consent",
		}},
		"signals": signals, "tolerances": tolerances, "sampleGap": "1h",
	})
}

func tolerance(signal string) string { return "normal-" + signal }

// declaredDetectors are n detectors, of 20: each signal's tolerance at once,
// eight of them once more as they hold for ten minutes while the charger is in
// use, and two for silence.
func declaredDetectors(n int) []document {
	var out []document
	detector := func(name string, spec fields) {
		spec["product"], spec["severity"], spec["purpose"] = Product, "minor", "care"
		out = append(out, declared("Detector", name, spec))
	}
	for i, signal := range load.Signals {
		name := fmt.Sprintf("bench-%d", i)
		detector(name+"-now", fields{"type": "tolerance", "tolerance": tolerance(signal)})
		if i < 8 {
			detector(name+"-held", fields{
				"type": "tolerance", "tolerance": tolerance(signal), "hold": "10m", "clear": "30m", "hysteresis": 0.5,
				"exposure": "charging > 0.5 && current >= 6.0",
			})
		} else {
			detector(name+"-silent", fields{"type": "silence", "factor": 4 + i, "minimum": "1h"})
		}
	}
	return out[:min(n, len(out))]
}

func declaredUnit(i int) document {
	id := UnitID(i)
	return declared("Unit", id, fields{
		"product": Product, "serial": id, "hardware": "1", "batch": fmt.Sprintf("A-%d", i%7),
		"owner":    fields{"email": fmt.Sprintf("owner%d@example.com", i), "name": id},
		"consents": []string{"care"},
	})
}
