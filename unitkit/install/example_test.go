package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
	"fettle.dev/fettle/unitkit/install/powercut"
)

// server stands in for *unitkit.Client.
type server struct{ image []byte }

func (s server) Fetch(_ context.Context, _ unitkit.Target, w io.Writer, offset int64) (int64, error) {
	return io.Copy(w, bytes.NewReader(s.image[offset:]))
}

func (server) Report(_ context.Context, _ *unitkit.Update, p unitkit.Progress) error {
	fmt.Println("report:", p.State)
	return nil
}

func (server) Confirm(context.Context, *unitkit.Update) error { return nil }

// An update of one file. A real program takes the update from
// [unitkit.Client.Check], and sleeps for as long as Step says.
func Example() {
	dir, _ := os.MkdirTemp("", "unit")
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "program")
	_ = os.WriteFile(program, []byte("version 1"), 0o600)

	s := server{image: []byte("version 2")}
	updates, err := install.Open(install.Config{
		Dir: filepath.Join(dir, "state"), Source: s,
		Parts:   map[string]install.Part{"program": &install.File{FS: install.OS{}, Path: program}},
		Restart: func(context.Context, *unitkit.Update) error { return nil },
		Healthy: func(context.Context) error { return nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := sha256.Sum256(s.image)
	ctx := context.Background()
	_ = updates.Offer(ctx, unitkit.Update{Action: 1, Release: "two", Targets: []unitkit.Target{
		{Component: "program", Version: "2", Filename: "program", Length: int64(len(s.image)), SHA256: hex.EncodeToString(sum[:]), Counter: 2},
	}})
	for updates.Status().State != install.Idle {
		if _, err := updates.Step(ctx); err != nil {
			fmt.Println(err)
		}
	}
	_ = updates.Deliver(ctx)
	now, _ := os.ReadFile(program)
	fmt.Printf("%s, counter %d\n", now, updates.Status().Counters["program"])
	// Output:
	// report: rebooting
	// report: installed
	// version 2, counter 2
}

// A part of a product's own is tried on a disk whose power is cut at each step:
// here one that forgets to sync.
func Example_powerCut() {
	careless := func(d *powercut.Disk) {
		f, _ := d.Create("/settings.new", 0o600)
		_, _ = f.Write([]byte("new"))
		_ = d.Rename("/settings.new", "/settings")
		_ = d.SyncDir("/")
	}
	lost := 0
	for step := 1; step <= 4; step++ {
		for seed := range uint64(100) {
			d := powercut.New(rand.New(rand.NewPCG(seed, 1)))
			_ = d.WriteFile("/settings", 0o600, []byte("old"))
			d.CutAt = step
			func() {
				defer func() { _ = recover() }() // of the powercut.Cut
				careless(d)
			}()
			d.Restart()
			if b, _ := d.ReadFile("/settings"); string(b) != "old" && string(b) != "new" {
				lost++
			}
		}
	}
	fmt.Println("neither the old nor the new settings:", lost > 0)
	// Output: neither the old nor the new settings: true
}
