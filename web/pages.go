package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

const notBuilt = `The pages are not built into this binary.

Run "make build" (or, in web/, "npm ci && npm run build") and start fettle again.
`

// policy lets pages load nothing but their own. Mantine and uPlot set styles
// on elements, hence unsafe-inline for styles alone.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// pages serves what Vite built: console/ and portal/, each with an index.html
// for every address that is not a file, since their routers read the address.
type pages struct {
	files map[string]*file // by URL path
	index map[string]*file // by base, /console/ and /my/
}

// file is an asset with its compressed form, made when it is first asked for.
type file struct {
	body        []byte
	contentType string
	tag         string
	forEver     bool // its name holds a hash of its content
	zipped      func() []byte
}

var bases = map[string]string{"/console/": "console", "/my/": "portal"}

func newPages(built fs.FS) http.Handler {
	p := &pages{files: map[string]*file{}, index: map[string]*file{}}
	for base, dir := range bases {
		err := fs.WalkDir(built, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			body, err := fs.ReadFile(built, name)
			if err != nil {
				return err
			}
			rest := strings.TrimPrefix(name, dir+"/")
			if rest == "index.html" {
				p.index[base] = newFile(name, body)
			} else {
				p.files[base+rest] = newFile(name, body)
			}
			return nil
		})
		if err != nil || p.index[base] == nil {
			return http.HandlerFunc(sayNotBuilt)
		}
	}
	return p
}

func sayNotBuilt(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(notBuilt))
}

func newFile(name string, body []byte) *file {
	sum := sha256.Sum256(body)
	f := &file{
		body:        body,
		contentType: contentType(name),
		tag:         hex.EncodeToString(sum[:8]),
		forEver:     strings.Contains(name, "/assets/"),
	}
	switch path.Ext(name) {
	case ".html", ".js", ".css", ".svg", ".json", ".webmanifest":
		f.zipped = sync.OnceValue(func() []byte {
			var b bytes.Buffer
			z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
			_, _ = z.Write(body)                                  // a bytes.Buffer takes everything
			_ = z.Close()
			return b.Bytes()
		})
	}
	return f
}

func contentType(name string) string {
	if path.Ext(name) == ".webmanifest" {
		return "application/manifest+json" // W3C Manifest, section 8; unknown to most machines
	}
	return mime.TypeByExtension(path.Ext(name))
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "pages are only read", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/", "/my":
		http.Redirect(w, r, "/my/", http.StatusFound)
		return
	case "/console":
		http.Redirect(w, r, "/console/", http.StatusFound)
		return
	}
	if f, ok := p.files[r.URL.Path]; ok {
		f.serve(w, r)
		return
	}
	for base, index := range p.index {
		rest, ok := strings.CutPrefix(r.URL.Path, base)
		if !ok {
			continue
		}
		// A file of an older build must not be answered with a page.
		if strings.HasPrefix(rest, "assets/") {
			break
		}
		index.serve(w, r)
		return
	}
	http.NotFound(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-cache")
	if f.forEver {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, tag := f.body, f.tag
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			body, tag = f.zipped(), f.tag+"-gzip"
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
