package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Bounds of what is made by itself.
const (
	mostSources = 8                // versions of one component, those that most units have
	retryAfter  = time.Hour        // after a failure
	lookEvery   = 10 * time.Second // for releases that are new
	countEvery  = 10 * time.Minute // for versions that are
	checkWindow = 256 << 20        // a delta that takes more memory is not tried by applying it
)

// Config is what a Manager works with.
type Config struct {
	Store    Store
	Releases Releases
	Blobs    Blobs
	Clock    clock.Clock
	Wall     clock.Clock // the machine's, for what making took
	Log      *slog.Logger
	Dir      string                 // for what is under way
	Room     func(size int64) error // whether so many bytes more may be kept; nil: always
	Apply    Apply                  // nil: what is made is not tried
}

// Apply reads what Make wrote as a unit does, and says whether it gives an image
// of that length and SHA-256 in no more than that window; old is the image it
// is from, nil for one that was only compressed.
type Apply func(patch io.Reader, old []byte, length int64, sha256 string, window int64) error

// Manager makes deltas, one at a time.
type Manager struct {
	cfg  Config
	wake chan struct{}

	counted map[string]countedField // by product; of Pass alone

	mu  sync.Mutex
	now *Delta // the one being made, with its progress
}

// NewManager makes a manager; Run lets it work.
func NewManager(c Config) *Manager {
	if c.Room == nil {
		c.Room = func(int64) error { return nil }
	}
	return &Manager{cfg: c, wake: make(chan struct{}, 1), counted: map[string]countedField{}}
}

// Wake makes the manager look at once, after a release was declared.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run makes what is missing until ctx ends. What was under way when a process
// was killed is made again.
func (m *Manager) Run(ctx context.Context) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		made, err := m.Pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			m.cfg.Log.WarnContext(ctx, "deltas", "error", err)
		}
		if made {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-m.wake:
		}
	}
}

// job is a delta to be made.
type job struct {
	to    update.Artifact
	from  string
	units int
}

// Pass makes the one delta that is wanted most, and reports whether there was
// one to make.
func (m *Manager) Pass(ctx context.Context) (bool, error) {
	jobs, err := m.wanted(ctx)
	if err != nil || len(jobs) == 0 {
		return false, err
	}
	return true, m.make(ctx, jobs[0])
}

// wanted lists what is missing: an image alone before what starts from another,
// then by the number of units that it is for.
func (m *Manager) wanted(ctx context.Context) ([]job, error) {
	releases, err := m.cfg.Releases.Releases(ctx, "")
	if err != nil {
		return nil, err
	}
	products := map[string][]update.Release{}
	for _, r := range releases {
		products[r.Product] = append(products[r.Product], r)
	}
	var out []job
	for product, list := range products {
		field, err := m.inField(ctx, product, list)
		if err != nil {
			return nil, err
		}
		for i := range list {
			r := &list[i]
			current, err := m.current(ctx, r, list)
			if err != nil {
				return nil, err
			}
			if !current {
				continue
			}
			for _, s := range sources(r, list, field) {
				missing, err := m.missing(ctx, s)
				if err != nil {
					return nil, err
				}
				out = append(out, missing...)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b job) int {
		return cmp.Or(cmp.Compare(b.units, a.units), strings.Compare(a.to.SHA256, b.to.SHA256), strings.Compare(a.from, b.from))
	})
	return out, nil
}

// inField counts the versions of a product's units, not oftener than countEvery
// unless there is another release: it looks at every unit.
func (m *Manager) inField(ctx context.Context, product string, list []update.Release) ([]InField, error) {
	now := m.cfg.Wall.Now()
	if c, ok := m.counted[product]; ok && c.releases == len(list) && now.Sub(c.at) < countEvery {
		return c.field, nil
	}
	field, err := m.cfg.Store.InField(ctx, product)
	if err == nil {
		m.counted[product] = countedField{now, len(list), field}
	}
	return field, err
}

type countedField struct {
	at       time.Time
	releases int
	field    []InField
}

// current reports whether units may yet be offered r: it was not withdrawn, and
// it is on its way to some, or the newest of its product's for its components.
func (m *Manager) current(ctx context.Context, r *update.Release, list []update.Release) (bool, error) {
	if r.Withdrawn != nil {
		return false, nil
	}
	newest := !slices.ContainsFunc(list, func(o update.Release) bool {
		return o.Withdrawn == nil && o.Counter > r.Counter && components(&o) == components(r)
	})
	if newest {
		return true, nil
	}
	return m.cfg.Releases.ReleaseInUse(ctx, r.Name)
}

func components(r *update.Release) string {
	var names []string
	for _, p := range r.Images() {
		names = append(names, p.Component)
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// source is an image of a release and the versions it may be installed over.
type source struct {
	component string
	to        string // hash of the image
	over      []over // most units first
}

type over struct {
	version string
	sha256  string // of the image of that version; "": none is known
	units   int
}

func hash(ref string) string {
	r := update.Release{Artifact: ref}
	return r.ArtifactSHA256()
}

// sources are a release's images with the versions that units have instead, by
// how many have them.
func sources(r *update.Release, list []update.Release, field []InField) []source {
	var out []source
	for _, p := range r.Images() {
		s := source{component: p.Component, to: hash(p.Artifact)}
		if s.to == "" {
			continue
		}
		units := map[string]int{}
		for _, f := range field {
			units[f.Versions[p.Component]] += f.Units
		}
		for v, n := range units {
			if v != p.Version && (len(p.From) == 0 || slices.Contains(p.From, v)) {
				s.over = append(s.over, over{v, imageOf(list, p.Component, v), n})
			}
		}
		slices.SortFunc(s.over, func(a, b over) int {
			return cmp.Or(cmp.Compare(b.units, a.units), strings.Compare(a.version, b.version))
		})
		out = append(out, s)
	}
	return out
}

// imageOf is the image of a version of a component: that of the release with
// the highest counter, if several have it. A unit that has another one is told
// so by the delta's header, and takes the whole image.
func imageOf(list []update.Release, component, version string) string {
	var best int64 = -1
	sum := ""
	for i := range list {
		for _, p := range list[i].Images() {
			if p.Component == component && p.Version == version && version != "" && list[i].Counter > best {
				best, sum = list[i].Counter, hash(p.Artifact)
			}
		}
	}
	return sum
}

// missing are the deltas of an image that have not been tried.
func (m *Manager) missing(ctx context.Context, s source) ([]job, error) {
	to, err := m.cfg.Releases.Artifact(ctx, s.to)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	kept, err := m.cfg.Store.Of(ctx, s.to)
	if err != nil {
		return nil, err
	}
	var out []job
	add := func(from string, units int) {
		i := slices.IndexFunc(kept, func(d Delta) bool { return d.From == from })
		if i < 0 || kept[i].State == Waiting || kept[i].State == Running || kept[i].State == Failed && m.cfg.Clock.Now().Sub(kept[i].At) >= retryAfter {
			out = append(out, job{to: to, from: from, units: units})
		}
	}
	all, made := 0, 0
	for _, o := range s.over {
		all += o.units
		if o.sha256 != "" && o.sha256 != s.to && made < mostSources {
			made++
			add(o.sha256, o.units)
		}
	}
	if all > 0 {
		add("", all) // first: what a delta must be smaller than
	}
	return out, nil
}

// make makes a delta and keeps what came of it.
func (m *Manager) make(ctx context.Context, j job) error {
	d := Delta{To: j.to.SHA256, From: j.from, State: Running, At: m.cfg.Clock.Now()}
	if err := m.cfg.Store.Put(ctx, d); err != nil {
		return err
	}
	began := m.cfg.Wall.Now()
	m.set(&d)
	defer m.set(nil)
	err := m.try(ctx, j, &d)
	if ctx.Err() != nil {
		return nil // made again at the next start
	}
	d.At, d.Took, d.Done = m.cfg.Clock.Now(), m.cfg.Wall.Now().Sub(began), 0
	switch {
	case errors.Is(err, errTooLarge):
		d.State, d.Why = Larger, err.Error()
	case err != nil:
		d.State, d.Why = Failed, err.Error()
		m.cfg.Log.WarnContext(ctx, "a delta could not be made", "to", d.To, "from", d.From, "error", err)
	}
	return m.cfg.Store.Put(ctx, d)
}

func (m *Manager) set(d *Delta) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d == nil {
		m.now = nil
		return
	}
	c := *d
	m.now = &c
}

func (m *Manager) progress(size int64) func(int64) {
	return func(done int64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.now != nil {
			m.now.Done = float64(done) / float64(max(size, 1))
		}
	}
}

// try makes the delta, tries it, and keeps it if it pays.
func (m *Manager) try(ctx context.Context, j job, d *Delta) error {
	if j.from != "" { // before anything is copied from a bucket
		from, err := m.cfg.Releases.Artifact(ctx, j.from)
		if err == nil && max(from.Size, j.to.Size) > MostImage {
			err = errTooLarge
		}
		if err != nil {
			return err
		}
	}
	to, err := m.local(ctx, j.to.SHA256)
	if err != nil {
		return err
	}
	defer to.close()
	var from *spooled
	if j.from != "" {
		if from, err = m.local(ctx, j.from); err != nil {
			return err
		}
		defer from.close()
	}
	out, err := m.temporary()
	if err != nil {
		return err
	}
	defer out.close()
	spares := j.to.Size
	if alone, err := m.cfg.Store.Delta(ctx, d.To, ""); err == nil && j.from != "" && alone.State == Ready {
		spares = alone.Size
	}
	made, err := Make(ctx, &roomy{w: out.File, room: m.cfg.Room, most: spares - 1}, from.file(), to.File, m.progress(j.to.Size))
	if errors.Is(err, errLarger) {
		d.State, d.Why = Larger, fmt.Sprintf("no smaller than the %d bytes that are fetched without it", spares)
		return nil
	}
	if err != nil {
		return err
	}
	d.Size, d.Window = made.Size, made.Window
	if m.cfg.Apply != nil && made.Window <= checkWindow {
		if err := m.check(out.File, from.file(), j.to, made); err != nil {
			return fmt.Errorf("it does not give the image: %w", err)
		}
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := m.cfg.Blobs.Put(ctx, made.SHA256, out.File); err != nil {
		return err
	}
	d.State, d.SHA256 = Ready, made.SHA256
	return nil
}

// check applies a delta as a unit does.
func (m *Manager) check(patch, from *os.File, to update.Artifact, made Made) error {
	old, err := mapped(from)
	if err != nil {
		return err
	}
	defer unmap(old)
	if _, err := patch.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return m.cfg.Apply(patch, old, to.Size, to.SHA256, made.Window)
}

// spooled is a file here; temporary ones are removed when they are closed.
type spooled struct {
	*os.File
	remove bool
}

func (s *spooled) file() *os.File {
	if s == nil {
		return nil
	}
	return s.File
}

func (s *spooled) close() {
	_ = s.Close()
	if s.remove {
		_ = os.Remove(s.Name()) // a leftover is removed at the next start
	}
}

func (m *Manager) temporary() (*spooled, error) {
	f, err := os.CreateTemp(m.cfg.Dir, "artifact-delta-*")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "delta", err)
	}
	return &spooled{f, true}, nil
}

// local is an image as a file of this machine: the one that the store has, or a
// copy of what lies in a bucket.
func (m *Manager) local(ctx context.Context, sha256 string) (*spooled, error) {
	r, err := m.cfg.Blobs.Open(ctx, sha256)
	if err != nil {
		return nil, err
	}
	if f, ok := r.(*os.File); ok {
		return &spooled{f, false}, nil
	}
	defer func() { _ = r.Close() }()
	s, err := m.temporary()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(&roomy{w: s.File, room: m.cfg.Room}, r); err != nil {
		s.close()
		return nil, fault.Wrap(fault.Unavailable, "copy an image", err)
	}
	return s, nil
}

// askEvery is how many bytes are written before it is asked again whether there
// is room.
const askEvery = 8 << 20

// errLarger ends the making of what does not pay.
var errLarger = errors.New("larger than what it would spare")

// roomy writes while there is room.
type roomy struct {
	w     io.Writer
	room  func(int64) error
	most  int64 // bytes in all; 0: as many as there is room for
	wrote int64
	left  int
}

func (r *roomy) Write(p []byte) (int, error) {
	if r.wrote += int64(len(p)); r.most > 0 && r.wrote > r.most {
		return 0, errLarger
	}
	if r.left <= 0 {
		if err := r.room(askEvery); err != nil {
			return 0, err
		}
		r.left = askEvery
	}
	n, err := r.w.Write(p)
	r.left -= n
	return n, err
}

// Ready is the delta to serve to a unit that has the image from ("": that has
// none) and takes a window of so many bytes; fault.NotFound where the whole
// image is to be served.
func (m *Manager) Ready(ctx context.Context, to, from string, window int64) (Delta, error) {
	d, err := m.cfg.Store.Delta(ctx, to, from)
	if err == nil && (d.State != Ready || d.Window > window) {
		err = fault.New(fault.NotFound, "the delta is %s", d.State)
	}
	return d, err
}

// BySHA256 is the ready delta that has these bytes.
func (m *Manager) BySHA256(ctx context.Context, sha256 string) (Delta, error) {
	return m.cfg.Store.BySHA256(ctx, sha256)
}

// Table is what units of each version fetch of a release; versions that most
// units have come first.
func (m *Manager) Table(ctx context.Context, r *update.Release) ([]Row, error) {
	list, err := m.cfg.Releases.Releases(ctx, r.Product)
	if err != nil {
		return nil, err
	}
	field, err := m.cfg.Store.InField(ctx, r.Product)
	if err != nil {
		return nil, err
	}
	out := []Row{}
	for _, s := range sources(r, list, field) {
		to, err := m.cfg.Releases.Artifact(ctx, s.to)
		if err != nil {
			return nil, err
		}
		kept, err := m.deltas(ctx, s.to)
		if err != nil {
			return nil, err
		}
		for _, o := range append(s.over, over{}) {
			if o.version == "" && o.units == 0 && slices.ContainsFunc(s.over, func(v over) bool { return v.version == "" }) {
				continue
			}
			out = append(out, row(s, o, to, kept))
		}
	}
	return out, nil
}

func row(s source, o over, to update.Artifact, kept map[string]Delta) Row {
	out := Row{Component: s.component, Version: o.version, Units: o.units, Full: to.Size, Size: to.Size}
	if alone, ok := kept[""]; ok {
		out.State, out.Done, out.Took, out.Why = alone.State, alone.Done, alone.Took, alone.Why
		if alone.State == Ready {
			out.Size, out.Coding, out.Window = alone.Size, alone.Coding(), alone.Window
		}
	}
	if o.sha256 == "" {
		if o.version != "" {
			out.Why = "no image of this version is known"
		}
		return out
	}
	d, ok := kept[o.sha256]
	if !ok {
		out.State, out.Done, out.Took, out.Why = Waiting, 0, 0, ""
		return out
	}
	out.State, out.Done, out.Took, out.Why = d.State, d.Done, d.Took, d.Why
	if d.State == Ready && d.Size < out.Size {
		out.Size, out.Coding, out.Window = d.Size, d.Coding(), d.Window
	}
	return out
}

// deltas are those of an image by what they start from, with the progress of
// the one that is being made.
func (m *Manager) deltas(ctx context.Context, to string) (map[string]Delta, error) {
	list, err := m.cfg.Store.Of(ctx, to)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]Delta{}
	for _, d := range list {
		if m.now != nil && m.now.To == d.To && m.now.From == d.From {
			d = *m.now
		}
		out[d.From] = d
	}
	return out, nil
}

// Size is how many bytes a unit fetches of a release: those of the deltas from
// the versions it has where its client takes them, else of the whole images.
func (m *Manager) Size(ctx context.Context, r *update.Release, u *fleet.Unit) (int64, error) {
	attributes, err := m.cfg.Releases.Attributes(ctx, u.ID)
	if err != nil {
		return 0, err
	}
	var list []update.Release
	if takes(attributes) {
		if list, err = m.cfg.Releases.Releases(ctx, r.Product); err != nil {
			return 0, err
		}
	}
	var total int64
	for _, s := range sources(r, list, []InField{{Versions: u.Versions, Units: 1}}) {
		to, err := m.cfg.Releases.Artifact(ctx, s.to)
		if err != nil {
			return 0, err
		}
		if list == nil {
			total += to.Size
			continue
		}
		kept, err := m.deltas(ctx, s.to)
		if err != nil {
			return 0, err
		}
		o := over{version: u.Versions[s.component]}
		o.sha256 = imageOf(list, s.component, o.version)
		total += row(s, o, to, kept).Size
	}
	return total, nil
}
