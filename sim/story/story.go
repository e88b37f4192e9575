// Package story tells the story of 2014: a fleet of wall chargers, some with
// adapters whose contacts age, a server that finds them, and owners who choose
// when the update runs. The server is a child process that the story knows by
// its public doors alone; what is true of the units, only the story knows.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/sim"
	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/drive"
	"fettle.dev/fettle/sim/mailbox"
)

// Names of the story.
const (
	product   = "wall-charger"
	detector  = "plug-overheat"
	cohort    = "hot-adapters"
	campaign  = "adapter-overheat"
	enoughUse = 8.0 // hours of load after which a defective unit must be found
)

// The times of the story, simulated.
const (
	watchFor   = 5 * 24 * time.Hour  // until the engineers ask "who else?"
	expected   = 15 * 24 * time.Hour // until the end, about
	patience   = 60 * 24 * time.Hour // after which the story ends anyway
	pollEvery  = 12 * time.Hour      // between polls of update clients
	visitEvery = 6 * time.Hour       // between visits of units that report in turn
	connected  = 8000                // units connected at once
)

// Options shape a run.
type Options struct {
	Command []string // of the server: program and "serve"
	Files   fs.FS    // the declared files
	Out     io.Writer
	// Terminal says that Out is one: progress is shown by bars.
	Terminal bool

	Units   int
	Seed    uint64
	Speed   float64 // simulated per real time; 0: as fits the number of units
	Placebo bool    // the remedy changes nothing
	Data    string  // data directory of the server; "": a new temporary one, removed at the end
	Listen  string  // address of HTTP
	MQTT    string  // address of MQTT
	Records string  // database of the records, passed on; "": the server's own
	Report  string  // file for the report, written when the story has ended; "": none
	Kills   int     // times that the server is killed on the way
	Exit    bool    // end after the story
	// Keys makes the offline keys and roots of a service, signs the declared
	// releases of the product with them, and gives the image and director roots
	// that units are made with; nil: nothing is signed.
	Keys func(ctx context.Context, server, token, product string) (image, director []byte, err error)
}

// verifyOf is of how many units one verifies its update by unitkit; the others
// are stock clients, which rely on their image's own signature.
const verifyOf = 4

// speed is how fast the clock may run so that two processor cores can carry
// the fleet and the server.
func (o *Options) speed() float64 {
	if o.Speed > 0 {
		return o.Speed
	}
	// Seconds for the whole story: enough for the people and the waves, and
	// for the messages that the fleet sends in it.
	seconds := 23 + float64(o.Units)/76 + 2.5*float64(o.Kills)
	return math.Round(expected.Seconds() / seconds)
}

// teller of one run and its parties.
type run struct {
	o      Options
	tell   *teller
	data   string
	clock  sim.Clock
	server *server
	mail   *mailbox.Server
	op     *client.Caller
	fleet  *drive.Fleet
	posts  atomic.Pointer[drive.Fleet] // the fleet, for the mail
	units  []*charger.Unit
	email  string // of the operator
	base   string
	mqtt   string
	args   []string // of the server, without those of the clock

	links    chan string // sign-in links mailed to people at the terminal
	redirect atomic.Bool // all mail is theirs
	staying  atomic.Bool // links that are asked for are told
	kills    int
	upTo     time.Time     // of the data that the cohort is asked of
	loads    []drive.Truth // then
}

// Run tells the story. The report is of use also when err is not nil, unless
// it is nil itself.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	r := &run{o: o, tell: newTeller(o.Out, o.Terminal), links: make(chan string, 16)}
	defer r.tell.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cleanup, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	if err := r.begin(ctx, cancel); err != nil {
		return nil, because(ctx, err)
	}
	life, rest := context.WithCancel(ctx)
	lived := make(chan struct{})
	go func() {
		defer close(lived)
		r.fleet.Run(life)
	}()
	defer func() {
		rest()
		<-lived
	}()
	stopKilling := r.killNowAndThen(ctx, cancel)
	defer stopKilling()
	if err := r.watch(ctx); err != nil {
		return nil, because(ctx, err)
	}
	in, err := r.whoElse(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}
	end, err := r.remedy(ctx, in)
	if err != nil {
		return nil, because(ctx, err)
	}
	stopKilling()
	report, err = r.account(ctx, in, end)
	if err != nil {
		return nil, because(ctx, err)
	}
	rest()
	<-lived
	r.conclude(report)
	if o.Report != "" {
		if err := report.Write(o.Report); err != nil {
			return report, err
		}
	}
	if !o.Exit {
		return report, r.stay(ctx)
	}
	return report, nil
}

// because prefers the reason for which the story was ended.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open prepares the place: data directory, addresses, mailboxes.
func (r *run) open(ctx context.Context) (cleanup func(), err error) {
	r.data = r.o.Data
	remove := func() {}
	if r.data == "" {
		if r.data, err = os.MkdirTemp("", "fettle-demo-"); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
		remove = func() { _ = os.RemoveAll(r.data) }
	} else if err := os.MkdirAll(r.data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if used, err := os.ReadDir(r.data); err != nil || len(used) > 0 {
		remove()
		return nil, errors.Join(fmt.Errorf("data directory %s is not empty: the story begins with an empty one", r.data), err)
	}
	listen, err := address(ctx, r.o.Listen)
	if err != nil {
		return nil, err
	}
	if r.mqtt, err = address(ctx, r.o.MQTT); err != nil {
		return nil, err
	}
	r.base = "http://" + listen
	if r.mail, err = mailbox.Listen(ctx, "127.0.0.1:0", r.post, mailbox.Refusing(noMailbox)); err != nil {
		return nil, err
	}
	r.args = append(append([]string(nil), r.o.Command[1:]...),
		"--dev", "--data", r.data, "--listen", listen, "--mqtt", r.mqtt, "--public-url", r.base,
		"--smtp", "smtp://"+r.mail.Addr(), "--mail-from", "service@wall-charger.example", "--log-level", "warn", "--log-format", "json")
	if r.o.Records != "" {
		r.args = append(r.args, "--records", r.o.Records)
	}
	r.server, err = newServer(nil, r.base, r.data)
	if err != nil {
		return nil, err
	}
	r.op = &client.Caller{HTTP: client.HTTP(8), Base: r.base}
	return func() {
		r.server.stop()
		_ = r.server.log.Close()
		_ = r.mail.Close()
		remove()
	}, nil
}

// commandAt is the server's command line with a clock.
func (r *run) commandAt(c sim.Clock) []string {
	return append(append([]string{r.o.Command[0]}, r.args...),
		"--clock-origin", c.Origin.Format(time.RFC3339Nano), "--clock-start", c.Start.Format(time.RFC3339Nano),
		"--clock-speed", fmt.Sprint(c.Speed))
}

// post sorts the mail.
func (r *run) post(m mailbox.Mail) {
	if f := r.posts.Load(); f != nil && !r.redirect.Load() && f.Mail(m) {
		return
	}
	if r.staying.Load() && m.Link() != "" {
		r.tell.say("  mail to %s: %s", m.To, m.Link())
		return
	}
	if t := m.Token(); t != "" {
		select {
		case r.links <- t:
		default:
		}
	}
}

// begin starts the server and declares product, fleet and remedy.
func (r *run) begin(ctx context.Context, cancel context.CancelCauseFunc) error {
	t := r.tell
	placebo := ""
	if r.o.Placebo {
		placebo = ", whose remedy will be a placebo"
	}
	t.say("A fleet of %d wall chargers%s. Seed %d.", r.o.Units, placebo, r.o.Seed)
	options := charger.Options{Units: r.o.Units, Seed: r.o.Seed}
	if r.o.Placebo {
		options.Intermittent = 0.5
	}
	var err error
	if r.units, err = charger.Fleet(options); err != nil {
		return err
	}
	leave(r.units)
	setup := 2*time.Second + time.Duration(r.o.Units)*1500*time.Microsecond
	r.clock = sim.Clock{Origin: time.Now().Add(setup).UTC(), Start: time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC), Speed: r.o.speed()}
	r.server.command = r.commandAt(r.clock)
	if err := r.server.start(ctx); err != nil {
		return err
	}
	go r.guard(ctx, cancel)
	if r.email, err = signIn(ctx, r.op, r.data); err != nil {
		return err
	}
	t.say("The service runs at %s (MQTT %s), data in %s.", r.base, r.mqtt, r.data)
	t.say("The clock runs %.0f times as fast: a day takes %s.", r.clock.Speed, r.clock.Real(24*time.Hour).Round(10*time.Millisecond))
	if link := r.operatorLink(ctx); link != "" {
		t.say("Look on in the console (the link works once): %s", link)
	}
	for _, file := range []string{"product.yaml", "detectors.yaml"} {
		docs, err := documents(r.o.Files, file)
		if err != nil {
			return err
		}
		if err := apply(ctx, r.op, docs); err != nil {
			return fmt.Errorf("apply %s: %w", file, err)
		}
	}
	bar := t.progress("units declared", int64(len(r.units)))
	declared := 0
	tokens, err := declareFleet(ctx, r.op, r.units, func(n int) {
		declared += n
		bar.set(int64(declared))
	})
	bar.done()
	if err != nil {
		return err
	}
	if err := declareContacts(ctx, r.op, r.units); err != nil {
		return err
	}
	t.say("Declared: product, detectors and %d units with their owners; a token issued to each.", len(tokens))
	if err := r.upload(ctx); err != nil {
		return err
	}
	var roots [2][]byte
	if r.o.Keys != nil {
		if roots[0], roots[1], err = r.o.Keys(ctx, r.base, r.op.Bearer, product); err != nil {
			return fmt.Errorf("sign the release: %w", err)
		}
		t.say("Signed by two of three holders of offline keys: the release. Every %dth unit verifies that itself.", verifyOf)
	}
	r.fleet, err = drive.New(drive.Options{
		Roots: roots, VerifyOf: verifyOf,
		Clock: r.clock, MQTT: r.mqtt, HTTP: r.base, Units: r.units, Tokens: tokens, Start: r.clock.Now(),
		Remedy:    charger.Firmware{Version: "2.0.0", Protects: !r.o.Placebo},
		Connected: connected,
		// The larger the fleet, the rarer it calls unasked.
		PollEvery:  time.Duration(float64(pollEvery) * min(max(float64(r.o.Units)/5000, 1), 4)),
		VisitEvery: r.visitEvery(),
	})
	r.posts.Store(r.fleet)
	return err
}

func (r *run) visitEvery() time.Duration {
	return time.Duration(float64(visitEvery) * min(max(float64(r.o.Units)/7500, 1), 4))
}

func (r *run) upload(ctx context.Context) error {
	b, sum := image(r.o.Seed)
	var got struct{ SHA256 string }
	if err := r.op.Upload(ctx, "/v1/artifacts?filename=charger-2.0.0.swu", b, &got); err != nil {
		return fmt.Errorf("upload the artifact: %w", err)
	}
	if got.SHA256 != sum {
		return fmt.Errorf("upload the artifact: its hash is %s, the server says %s", sum, got.SHA256)
	}
	docs, err := documents(r.o.Files, "release.yaml", "{{ARTIFACT}}", sum)
	if err != nil {
		return err
	}
	return apply(ctx, r.op, docs)
}

// guard ends the story when the server ends and nobody asked for it.
func (r *run) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	if err := r.server.died(ctx); err != nil {
		cancel(err)
	}
}

// operatorLink is a fresh sign-in link for a person, or "".
func (r *run) operatorLink(ctx context.Context) string {
	if _, err := r.op.Do(ctx, "POST", "/v1/sign-in/link", map[string]string{"email": r.email}, nil); err != nil {
		return ""
	}
	select {
	case token := <-r.links:
		return r.base + "/console/sign-in#" + token
	case <-time.After(5 * time.Second):
		return ""
	case <-ctx.Done():
		return ""
	}
}

// killNowAndThen kills the server at random moments over the expected length
// of the story, one after another where they fall together; stop ends that,
// after a restart that is under way.
func (r *run) killNowAndThen(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	if r.o.Kills == 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		moments := make([]time.Duration, r.o.Kills)
		for i := range moments {
			moments[i] = time.Duration(rand.Float64() * float64(r.clock.Real(expected-3*24*time.Hour)))
		}
		slices.Sort(moments)
		for _, at := range moments {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(began.Add(at))):
			}
			r.kills++
			r.tell.at(r.clock.Now(), "(kill -9 of the server, %d of %d)", r.kills, r.o.Kills)
			if err := r.server.crash(context.WithoutCancel(ctx)); err != nil {
				cancel(fmt.Errorf("after kill -9: %w", err))
				return
			}
		}
	}()
	return func() {
		end()
		<-done
	}
}

var errTooLong = fmt.Errorf("no finding in %s", patience)
