package remote

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"fettle.dev/fettle/sim/recording"
)

// replay is what the command line asks for.
type replay struct {
	c                                *cli
	product, file, mqtt              string
	units, columns                   []string
	format                           recording.Format
	from, startAt, step, speed, zone string
	shift                            bool
	token, tokensFile                string
}

func newReplayCmd(c *cli) *cobra.Command {
	r := replay{c: c}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Play a CSV recording as one or many units, over MQTT",
		Long: `Play a recording (CSV with a header, or the same compressed as .gz; comma,
semicolon or tab) as if units sent it: each line is a message at QoS 1 with the
time recorded. It ends when everything is acknowledged.

With --unit-column the file holds several units: --unit then lists as many ids
in the order in which they first appear, or one pattern with {} for the column's
value ({000}: with zeros in front, at least three digits). Without it, each unit
listed plays the whole file.

The time column holds times (2006-01-02 15:04:05, RFC 3339, Unix seconds or
milliseconds) or, with --step, counts such as cycles.

Units prove themselves by --unit-token (one unit) or --tokens-file (lines of
unit,token). Without either, the service issues tokens, after a check that the
units are of --product; what used their former tokens is disconnected.

A service refuses samples older than its max-event-age: move an old recording
with --shift or --start-at, or raise that setting.`,
		Example: `  fettle replay --product room --unit R-1 --file ambient_temperature_system_failure.csv \
    --time timestamp --map value=temperature --shift
  fettle replay --product turbofan --unit 'TF-{000}' --unit-column unit --file train_FD001.csv.gz \
    --time cycle --step 1h --shift --map s11 --map s4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return r.run(ctx, cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.product, "product", "", "product that the units are of; needed to have tokens issued")
	f.StringSliceVar(&r.units, "unit", nil, "ids of units, or one pattern with {} or {000} for the value of --unit-column")
	f.StringVar(&r.file, "file", "", "the recording")
	f.StringVar(&r.format.Time, "time", "timestamp", "column of the time")
	f.StringVar(&r.format.Unit, "unit-column", "", "column that tells the units apart")
	f.StringArrayVar(&r.columns, "map", nil, "column=signal to play; column alone keeps its name; may be repeated")
	f.StringVar(&r.step, "step", "", "the time column counts: length of one count, as 1h")
	f.StringVar(&r.from, "from", "", "with --step: time of count 0 (RFC 3339)")
	f.StringVar(&r.zone, "time-zone", "UTC", "time zone of times that name none, as Europe/Oslo")
	f.StringVar(&r.mqtt, "mqtt", "", "the units' door, as mqtt://host:port or mqtts://host:port (default: port 1883 of the service's host)")
	f.StringVar(&r.token, "unit-token", "", "token of the unit (FETTLE_UNIT_TOKEN)")
	f.StringVar(&r.tokensFile, "tokens-file", "", "CSV file of unit,token")
	f.StringVar(&r.speed, "speed", "max", "how many times faster than recorded, or max: as fast as the server acknowledges")
	f.StringVar(&r.startAt, "start-at", "", "move the recording so that it begins at this time (RFC 3339)")
	f.BoolVar(&r.shift, "shift", false, "move the recording so that it ends now")
	cmd.MarkFlagsMutuallyExclusive("start-at", "shift")
	cmd.MarkFlagsMutuallyExclusive("unit-token", "tokens-file")
	for _, name := range []string{"file", "unit", "map"} {
		_ = cmd.MarkFlagRequired(name)
	}
	_ = cmd.MarkFlagFilename("file", "csv", "gz")
	_ = cmd.MarkFlagFilename("tokens-file", "csv")
	return cmd
}

func (r *replay) run(ctx context.Context, cmd *cobra.Command) error {
	p := &recording.Player{Patience: time.Minute}
	server, apiToken, err := r.c.Target()
	if err != nil {
		return err
	}
	if r.mqtt == "" {
		u, err := url.Parse(server)
		if err != nil {
			return err
		}
		r.mqtt = "mqtt://" + net.JoinHostPort(u.Hostname(), "1883")
	}
	if p.Addr, p.TLS, err = recording.ParseServer(r.mqtt); err != nil {
		return fmt.Errorf("--mqtt: %w", err)
	}
	if r.speed != "max" {
		if p.Speed, err = strconv.ParseFloat(r.speed, 64); err != nil || !(p.Speed > 0) {
			return fmt.Errorf("--speed %s: expected a number above 0, or max", r.speed)
		}
	}
	tracks, err := r.read()
	if err != nil {
		return err
	}
	if err := r.move(tracks); err != nil {
		return err
	}
	parts, err := r.cast(tracks)
	if err != nil {
		return err
	}
	cmd.SilenceUsage = true
	if err := r.prove(ctx, apiToken != "", parts); err != nil {
		return err
	}
	var rows int64
	for _, part := range parts {
		rows += int64(len(part.Track.Rows))
	}
	out := cmd.OutOrStdout()
	first, last, _ := recording.Extent(tracks)
	fmt.Fprintf(out, "%d rows of %d units, %s to %s\n", rows, len(parts), first.Format(time.RFC3339), last.Format(time.RFC3339))
	end := watchReplay(out, p, rows)
	err = p.Play(ctx, parts)
	end()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rows acknowledged, %d samples, in %s\n", p.Rows.Load(), p.Samples.Load(), p.Took.Round(10*time.Millisecond))
	if n := p.Again.Load(); n > 0 {
		fmt.Fprintf(out, "%d rows sent again after a loss of connection: those that had been stored before are counted as duplicates\n", n)
	}
	return nil
}

// read reads the file.
func (r *replay) read() (tracks []recording.Track, err error) {
	if r.format.Columns, err = recording.ParseColumns(r.columns); err != nil {
		return nil, err
	}
	if r.format.Zone, err = time.LoadLocation(r.zone); err != nil {
		return nil, fmt.Errorf("--time-zone: %w", err)
	}
	if r.step != "" {
		if r.format.Step, err = time.ParseDuration(r.step); err != nil || r.format.Step <= 0 {
			return nil, fmt.Errorf("--step %s: expected a duration, as 1h", r.step)
		}
		if r.from == "" && r.startAt == "" && !r.shift {
			return nil, errors.New("--step needs --from, --start-at or --shift: the time of the first count")
		}
	}
	r.format.From = time.Unix(0, 0).UTC() // a shift follows
	if r.from != "" {
		if r.format.From, err = time.Parse(time.RFC3339, r.from); err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
	}
	f, err := os.Open(r.file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(r.file, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		in = z
	}
	if tracks, err = recording.Read(in, r.format); err != nil {
		return nil, fmt.Errorf("%s: %w", r.file, err)
	}
	return tracks, nil
}

func (r *replay) move(tracks []recording.Track) error {
	first, last, ok := recording.Extent(tracks)
	switch {
	case !ok:
		return fmt.Errorf("%s holds no rows to play", r.file)
	case r.shift:
		recording.Shift(tracks, time.Since(last).Truncate(time.Millisecond))
	case r.startAt != "":
		t, err := time.Parse(time.RFC3339, r.startAt)
		if err != nil {
			return fmt.Errorf("--start-at: %w", err)
		}
		recording.Shift(tracks, t.Sub(first))
	}
	return nil
}

// placeholder stands in a pattern of unit ids for a value of the unit column;
// its zeros are the least width.
var placeholder = regexp.MustCompile(`\{0*\}`)

// cast decides who plays which track.
func (r *replay) cast(tracks []recording.Track) ([]recording.Part, error) {
	if r.format.Unit == "" {
		parts := make([]recording.Part, len(r.units))
		for i, id := range r.units {
			parts[i] = recording.Part{UnitID: id, Track: &tracks[0]}
		}
		return parts, nil
	}
	parts := make([]recording.Part, len(tracks))
	pattern := len(r.units) == 1 && placeholder.MatchString(r.units[0])
	if !pattern && len(r.units) != len(tracks) {
		return nil, fmt.Errorf("column %s holds %d units, --unit names %d: list them all, or one pattern as 'U-{000}'", r.format.Unit, len(tracks), len(r.units))
	}
	for i := range tracks {
		id := ""
		if pattern {
			id = placeholder.ReplaceAllStringFunc(r.units[0], func(braces string) string {
				return strings.Repeat("0", max(0, len(braces)-2-len(tracks[i].Unit))) + tracks[i].Unit
			})
		} else {
			id = r.units[i]
		}
		parts[i] = recording.Part{UnitID: id, Track: &tracks[i]}
	}
	return parts, nil
}

// prove gives every part its token.
func (r *replay) prove(ctx context.Context, signedIn bool, parts []recording.Part) error {
	token := r.token
	if token == "" {
		token = os.Getenv("FETTLE_UNIT_TOKEN")
	}
	var tokens map[string]string
	var err error
	switch {
	case r.tokensFile != "":
		tokens, err = readTokens(r.tokensFile)
	case token != "" && len(parts) == 1:
		tokens = map[string]string{parts[0].UnitID: token}
	case token != "":
		return fmt.Errorf("--unit-token is of one unit, but %d play: give --tokens-file", len(parts))
	default:
		tokens, err = r.issue(ctx, signedIn, parts)
	}
	if err != nil {
		return err
	}
	for i := range parts {
		t, ok := tokens[parts[i].UnitID]
		if !ok {
			return fmt.Errorf("no token for unit %s", parts[i].UnitID)
		}
		parts[i].Token = t
	}
	return nil
}

// issue has tokens issued through the operators' API.
func (r *replay) issue(ctx context.Context, signedIn bool, parts []recording.Part) (map[string]string, error) {
	if !signedIn || r.product == "" {
		return nil, errors.New("give the units' tokens by --unit-token or --tokens-file; or --product, signed in (fettle login, or --token), to have them issued")
	}
	ids := make([]string, len(parts))
	for i, p := range parts {
		ids[i] = p.UnitID
		var u struct{ Product string }
		if err := r.c.Call(ctx, http.MethodGet, "/v1/units/"+url.PathEscape(p.UnitID), nil, &u); err != nil {
			return nil, err
		}
		if u.Product != r.product {
			return nil, fmt.Errorf("unit %s is of product %s, not %s", p.UnitID, u.Product, r.product)
		}
	}
	var out struct {
		Items []struct{ UnitID, Token string }
	}
	if err := r.c.Call(ctx, http.MethodPost, "/v1/unit-tokens", map[string]any{"units": ids}, &out); err != nil {
		return nil, fmt.Errorf("issue tokens: %w", err)
	}
	tokens := make(map[string]string, len(out.Items))
	for _, t := range out.Items {
		tokens[t.UnitID] = t.Token
	}
	return tokens, nil
}

// readTokens reads lines of unit,token; a header is known by its second field,
// which is no token.
func readTokens(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tokens := make(map[string]string, len(records))
	for i, rec := range records {
		if len(rec) < 2 {
			return nil, fmt.Errorf("%s: line %d: expected unit,token", path, i+1)
		}
		if i == 0 && strings.EqualFold(strings.TrimSpace(rec[1]), "token") {
			continue
		}
		tokens[strings.TrimSpace(rec[0])] = strings.TrimSpace(rec[1])
	}
	return tokens, nil
}

// watchReplay shows how far it is, until end is called.
func watchReplay(out io.Writer, p *recording.Player, rows int64) (end func()) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	bars := mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	bar := bars.AddBar(rows,
		mpb.PrependDecorators(decor.Name("rows acknowledged ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				bar.SetCurrent(min(p.Rows.Load(), rows))
				bar.Abort(false)
				return
			case <-time.After(100 * time.Millisecond):
				bar.SetCurrent(min(p.Rows.Load(), rows-1))
			}
		}
	}()
	return func() {
		close(stop)
		<-done
		bars.Wait()
	}
}
