// Package web serves the pages: the operators' console at /console/ and the
// owners' portal at /my/. They are written in TypeScript beside this file,
// built into dist and embedded.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

// dist is empty but for a .gitkeep until the pages are built.
//
//go:embed all:dist
var dist embed.FS

// Handler serves /console/ and /my/, and redirects / to /my/. Built without
// the pages it says how to build them.
func Handler() http.Handler {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant and embedded
	}
	return newPages(built)
}
