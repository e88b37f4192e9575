package wire

import "time"

// Upload is an upload in pieces.
type Upload struct {
	ID        string    `json:"id"`
	Filename  string    `json:"filename"`
	Length    int64     `json:"length" doc:"Bytes of the file."`
	Offset    int64     `json:"offset" doc:"Bytes that have arrived."`
	Announced string    `json:"announced,omitempty" doc:"SHA-256 that the client said the file has."`
	SHA256    string    `json:"sha256,omitempty" doc:"The artifact, once all have."`
	At        time.Time `json:"at" doc:"Of the last piece."`
	Expires   time.Time `json:"expires" doc:"When it is forgotten if nothing arrives."`
}

// ReleaseSize is what units of a version fetch of one image of a release.
type ReleaseSize struct {
	Component string  `json:"component"`
	Version   string  `json:"version" doc:"That units have; empty: any other, or none reported."`
	Units     int     `json:"units" doc:"That report it."`
	Full      int64   `json:"full" doc:"Bytes of the image; what a stock client fetches."`
	Size      int64   `json:"size" doc:"Bytes that a unit fetches whose client takes deltas."`
	Coding    string  `json:"coding,omitempty" doc:"How it gets them: dcz (a delta), zstd (the image compressed), or absent (the image)."`
	State     string  `json:"state,omitempty" doc:"Of the delta: waiting, running, ready, does not pay, or failed."`
	Done      float64 `json:"done,omitempty" doc:"Share of the work on the delta, 0 to 1, while it is running."`
	Window    int64   `json:"window,omitempty" doc:"Memory that applying it takes, in bytes."`
	Seconds   float64 `json:"seconds,omitempty" doc:"That making it took."`
	Why       string  `json:"why,omitempty"`
}
