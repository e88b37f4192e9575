package unitkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fettle.dev/fettle/unitkit"
)

// A unit with one component asks, fetches ahead, installs at the owner's time,
// and confirms once it is healthy.
func Example() {
	imageRoot, err := os.ReadFile("/etc/unit/image-root.json") // by fettle keys roots
	if err != nil {
		slog.Error("unit", "error", err)
		return
	}
	directorRoot, err := os.ReadFile("/etc/unit/director-root.json")
	if err != nil {
		slog.Error("unit", "error", err)
		return
	}
	c, err := unitkit.New(unitkit.Config{
		Server: "https://fettle.example", UnitID: "WC-000123", Token: os.Getenv("UNIT_TOKEN"), Product: "wall-charger",
		Dir: "/var/lib/unit", ImageRoot: imageRoot, DirectorRoot: directorRoot,
		Components: func() map[string]unitkit.Component {
			return map[string]unitkit.Component{"software": {Hardware: "B", Version: "1.0.0"}}
		},
	})
	if err != nil {
		slog.Error("unit", "error", err)
		return
	}
	ctx := context.Background()
	u, err := c.Check(ctx)
	if err != nil || u == nil || u.Cancel {
		return
	}
	for _, t := range u.Targets {
		if err := c.FetchFile(ctx, t, filepath.Join("/data", t.Filename)); err != nil {
			return // what has come stays: the next call goes on there
		}
	}
	time.Sleep(time.Until(u.NotBefore))
	if !u.Ready(c.Now()) {
		return // too late: ask again
	}
	_ = c.Report(ctx, u, unitkit.Progress{State: unitkit.StateInstalling})
	// … install, restart, look whether all is well, and only then:
	_ = c.Report(ctx, u, unitkit.Progress{State: unitkit.StateInstalled})
	_ = c.Confirm(ctx, u)
}

// Every attack that was recognised has a name.
func ExampleAttackError() {
	err := error(&unitkit.AttackError{Attack: unitkit.ErrRollback, Repository: "director", Role: "timestamp", Err: errors.New("version 4 came after 7")})
	fmt.Println(err)
	switch {
	case errors.Is(err, unitkit.ErrFreeze):
		fmt.Println("is the clock right?")
	case errors.Is(err, unitkit.ErrRollback):
		fmt.Println("somebody shows what is old")
	}
	// Output:
	// refused as rollback: director timestamp: version 4 came after 7
	// somebody shows what is old
}

// What was fetched by other means is held against what was signed.
func ExampleVerify() {
	t := unitkit.Target{Filename: "hello", Length: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	fmt.Println(unitkit.Verify(t, strings.NewReader("hello")))
	fmt.Println(errors.Is(unitkit.Verify(t, strings.NewReader("hallo")), unitkit.ErrArbitrarySoftware))
	// Output:
	// <nil>
	// true
}

// The owner's time is kept also without a network.
func ExampleUpdate_Ready() {
	evening := time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)
	u := unitkit.Update{NotBefore: evening, NotAfter: evening.Add(24 * time.Hour)}
	fmt.Println(u.Ready(evening.Add(-time.Minute)), u.Ready(evening), u.Ready(evening.Add(25*time.Hour)))
	// Output: false true false
}
