package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"fettle.dev/fettle/unitkit/install"
	"fettle.dev/fettle/unitkit/setting"
)

// status is what `fettle-agent status` shows.
type status struct {
	Unit     string            `json:"unit"`
	Version  string            `json:"agent"`
	Online   bool              `json:"online"`
	Polled   time.Time         `json:"polled,omitzero"` // the last time that the server answered
	Problem  string            `json:"problem,omitempty"`
	Runs     map[string]string `json:"runs,omitempty"` // version by component, as the server is told
	Update   install.Status    `json:"update"`
	Settings []setting.Setting `json:"settings,omitempty"`
	Spool    spoolStatus       `json:"spool"`
}

type spoolStatus struct {
	Messages uint64 `json:"messages"`
	Bytes    int64  `json:"bytes"`
	Dropped  uint64 `json:"dropped,omitempty"`
}

type choice struct {
	Choice string    `json:"choice"`
	Until  time.Time `json:"until,omitzero"`
}

// serveControl answers the commands of whoever may open the socket: root, and
// the group that the socket's directory gives.
func (a *agent) serveControl(ctx context.Context) error {
	name := a.c.control()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(name, 0o660); err != nil { //nolint:gosec // G302: its group may decide for the owner
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, a.status(r.Context())) })
	mux.HandleFunc("POST /check", func(w http.ResponseWriter, r *http.Request) {
		a.wake(true)
		answer(w, http.StatusOK, a.status(r.Context()))
	})
	mux.HandleFunc("POST /choice", func(w http.ResponseWriter, r *http.Request) {
		var c choice
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&c)
		if err == nil {
			err = a.updates.Choose(c.Choice, c.Until)
		}
		if err != nil {
			answer(w, http.StatusConflict, map[string]string{"error": err.Error()})
			return
		}
		a.wake(false)
		answer(w, http.StatusOK, a.status(r.Context()))
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// ask sends a command to the agent that runs.
func ask(ctx context.Context, socket, method, path string, body any) (status, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	raw, err := json.Marshal(body)
	if err != nil {
		return status{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(raw))
	if err != nil {
		return status{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return status{}, fmt.Errorf("the agent does not answer at %s: is it running, and may you use it? %w", socket, err)
	}
	defer func() { _ = res.Body.Close() }()
	if raw, err = io.ReadAll(io.LimitReader(res.Body, 1<<20)); err != nil {
		return status{}, err
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(raw, &e)
		return status{}, errors.New(e.Error)
	}
	var s status
	return s, json.Unmarshal(raw, &s)
}

// show writes a status in words.
func show(w io.Writer, s status) {
	u := s.Update
	fmt.Fprintf(w, "unit      %s\n", s.Unit)
	if s.Online {
		fmt.Fprintln(w, "server    connected")
	} else {
		fmt.Fprintln(w, "server    not connected")
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "problem   %s\n", s.Problem)
	}
	for _, name := range sorted(s.Runs) {
		fmt.Fprintf(w, "runs      %s %s\n", name, s.Runs[name])
	}
	fmt.Fprintf(w, "update    %s", u.State)
	if u.Release != "" {
		fmt.Fprintf(w, ", %s", u.Release)
	}
	if u.State == install.Downloading && u.Of > 0 {
		fmt.Fprintf(w, ", %d of %d bytes", u.Got, u.Of)
	}
	fmt.Fprintln(w)
	if u.Waiting != "" {
		fmt.Fprintf(w, "waiting   %s\n", u.Waiting)
	}
	if u.Why != "" {
		fmt.Fprintf(w, "because   %s\n", u.Why)
	}
	if u.Choice != nil {
		fmt.Fprintf(w, "owner     %s", u.Choice.Choice)
		if !u.Choice.Until.IsZero() {
			fmt.Fprintf(w, " until %s", u.Choice.Until.Local().Format("2006-01-02 15:04"))
		}
		fmt.Fprintln(w)
	}
	if u.Last != nil {
		fmt.Fprintf(w, "last      %s: %s", u.Last.Release, u.Last.Result)
		if u.Last.Why != "" {
			fmt.Fprintf(w, " (%s)", u.Last.Why)
		}
		fmt.Fprintln(w)
	}
	for _, x := range s.Settings {
		_, name, _ := strings.Cut(x.Name, ":")
		fmt.Fprintf(w, "setting   %s is %s", name, cmp.Or(x.Value, "not known to this unit"))
		switch {
		case x.Waiting != "":
			fmt.Fprintf(w, ", the server says %s, waiting: %s", x.Desired, x.Waiting)
		case x.Drifts():
			fmt.Fprintf(w, ", the server says %s", x.Desired)
		}
		fmt.Fprintln(w)
	}
	if s.Spool.Messages > 0 || s.Spool.Dropped > 0 {
		fmt.Fprintf(w, "unsent    %d messages, %d dropped\n", s.Spool.Messages, s.Spool.Dropped)
	}
}
