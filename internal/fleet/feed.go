package fleet

import "strings"

// Feed is outside context: values of the surroundings of units, as weather or
// the price of power, that tips may ask for as name.variable. Exactly one of
// HTTP and MQTT says where it comes from.
type Feed struct {
	Name      string           `json:"name" doc:"As conditions name it, as weather in weather.humidity."`
	Title     string           `json:"title" doc:"Shown to owners, as \"Weather of met.no\"."`
	By        string           `json:"by" enum:"product,region,place" doc:"For what values are: one for all units of the product; by the unit's region; by the cell that the unit is in."`
	Regions   map[string]Point `json:"regions,omitempty" doc:"With by region: where each region is, for {latitude} and {longitude}. A unit of another region has no values."`
	Place     *FeedPlace       `json:"place,omitempty" doc:"With by place."`
	HTTP      *HTTPFeed        `json:"http,omitempty"`
	MQTT      *MQTTFeed        `json:"mqtt,omitempty"`
	Time      string           `json:"time,omitempty" doc:"JSON Pointer to when the values are of: RFC 3339, without a zone UTC, or Unix seconds; without it, when they were received."`
	Variables []FeedVariable   `json:"variables"`
}

// Point is a place on earth, in degrees (WGS 84).
type Point struct {
	Latitude  float64 `json:"latitude" minimum:"-90" maximum:"90"`
	Longitude float64 `json:"longitude" minimum:"-180" maximum:"180"`
}

// FeedPlace says how a unit's place is known, and how coarse it is told.
type FeedPlace struct {
	Latitude  string     `json:"latitude" doc:"Signal, in degrees."`
	Longitude string     `json:"longitude" doc:"Signal, in degrees."`
	Cells     []FeedCell `json:"cells" doc:"The finest first: the first whose purpose the owner permits is taken. Where none is, the unit has no values."`
}

// FeedCell is a granularity of places.
type FeedCell struct {
	Purpose string  `json:"purpose" doc:"Of the product; both signals must name it."`
	Size    float64 `json:"size" minimum:"0.01" maximum:"45" doc:"Edge of a cell, in degrees; 1 is about 111 km from south to north. Only the middle of the cell is told to the source."`
}

// HTTPFeed is polled, with If-None-Match and If-Modified-Since.
type HTTPFeed struct {
	URL     string            `json:"url" doc:"With {region}, {latitude} and {longitude}, and {secret:NAME} for what stands in the file NAME of the directory feed-secrets."`
	Headers map[string]string `json:"headers,omitempty" doc:"The same may stand in values, as Bearer {secret:weather}."`
	Every   Duration          `json:"every" doc:"How often each region or cell with units is asked for, at least 1m."`
}

// MQTTFeed is subscribed to at a broker.
type MQTTFeed struct {
	Address  string `json:"address" doc:"mqtts://host:8883, or mqtt://host:1883."`
	Topic    string `json:"topic" doc:"With {region}, {latitude} and {longitude}; no wildcards."`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty" doc:"{secret:NAME}: never the password itself."`
}

// FeedVariable is one value of a feed's documents.
type FeedVariable struct {
	Name string    `json:"name"`
	Type ValueType `json:"type" enum:"number,boolean,text"`
	Path string    `json:"path" doc:"JSON Pointer (RFC 6901), as /current/relative_humidity_2m."`
	Unit string    `json:"unit,omitempty" doc:"UCUM code, as conditions compare it."`
	Sent string    `json:"sent,omitempty" doc:"UCUM code that the source has, where it is another; converted."`
	Age  Duration  `json:"age" doc:"A value older than this is unknown, and no tip that needs it is given."`
}

// Place is what a feed is asked for: a region, a cell's middle, or neither.
// Key names it in the stream; Point is nil where nothing is known of it.
type Place struct {
	Key    string
	Region string
	Point  *Point
}

// HasPointer reports whether s is empty or begins as a JSON Pointer does.
func HasPointer(s string) bool { return s == "" || strings.HasPrefix(s, "/") }
