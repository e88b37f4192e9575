// Command delta makes deltas between versions of Debian packages as Fettle
// makes them, beside `zstd -19 --patch-from`, xdelta3 and bsdiff on the same
// files, and applies each as a unit does. The packages are those of the
// machine's own sources, the oldest and the newest version that apt has of
// each, so that the pairs change with time; the comparison is of the same files
// in the same run.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"fettle.dev/fettle/internal/update/delta"
	unit "fettle.dev/fettle/unitkit/delta"
)

// pairs are packages and the file of each that is an image; "" the whole
// package as a tar.
var pairs = []struct{ pkg, file string }{
	{"libssl3", "usr/lib/x86_64-linux-gnu/libcrypto.so.3"},
	{"libssl3", "usr/lib/x86_64-linux-gnu/libssl.so.3"},
	{"python3.11-minimal", "usr/bin/python3.11"},
	{"git", "usr/bin/git"},
	{"libsystemd-shared", "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so"},
	{"bind9-libs", "usr/lib/x86_64-linux-gnu/libdns-9.18.*"},
	{"libc6", ""},
	{"libssl3", ""},
	{"git systemd python3.11-minimal libssl3 bind9-libs libc6 perl-base", ""},
}

func main() {
	dir := flag.String("dir", ".tools/delta", "where packages are kept")
	only := flag.String("only", "", "only pairs whose name holds this")
	slow := flag.Bool("bsdiff", true, "beside bsdiff, too: minutes for large files")
	flag.Parse()
	if err := run(context.Background(), *dir, *only, *slow); err != nil {
		fmt.Fprintln(os.Stderr, "bench-delta:", err)
		os.Exit(1)
	}
}

type measured struct {
	size  int64
	took  time.Duration
	peak  int64 // KiB; 0: not known
	apply time.Duration
}

func run(ctx context.Context, dir, only string, slow bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // packages that everybody may read
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "pair\tfrom\tto\timage\tzstd -19\tpatch-from\tfettle\tof patch-from\txdelta3\tbsdiff\tpatch-from s\tfettle s\tbsdiff s\tfettle MiB\tbsdiff MiB\tapply s\t")
	var sumOurs, sumTheirs int64
	worst := 0.0
	for _, p := range pairs {
		name := strings.Fields(p.pkg)[0] + " " + filepath.Base(p.file)
		if p.file == "" {
			name = strings.Fields(p.pkg)[0] + " tar"
			if n := len(strings.Fields(p.pkg)); n > 1 {
				name = fmt.Sprintf("%d packages tar", n)
			}
		}
		if !strings.Contains(name, only) {
			continue
		}
		from, to, versions, err := fetch(ctx, dir, p.pkg, p.file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintln(os.Stderr, name, "…")
		r, err := compare(ctx, dir, from, to, slow)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		of := float64(r["fettle"].size) / float64(r["patch-from"].size)
		sumOurs, sumTheirs, worst = sumOurs+r["fettle"].size, sumTheirs+r["patch-from"].size, max(worst, of)
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.3f\t%s\t%s\t%.1f\t%.1f\t%s\t%d\t%s\t%.2f\t\n", name, versions[0], versions[1], r["image"].size, r["zstd"].size,
			r["patch-from"].size, r["fettle"].size, of, text(r["xdelta3"].size, "%d"), text(r["bsdiff"].size, "%d"),
			r["patch-from"].took.Seconds(), r["fettle"].took.Seconds(), text(r["bsdiff"].took.Seconds(), "%.1f"), r["fettle"].peak>>10, text(r["bsdiff"].peak>>10, "%d"), r["fettle"].apply.Seconds())
		if r["fettle"].size > r["zstd"].size {
			return fmt.Errorf("%s: the delta is larger than the image compressed", name)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if sumTheirs == 0 {
		return errors.New("there was nothing to compare")
	}
	fmt.Printf("bench-delta: %.2fx of zstd -19 --patch-from in sum, %.2fx at worst\n", float64(sumOurs)/float64(sumTheirs), worst)
	return nil
}

func text[T int64 | float64](v T, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// fetch gives an image of the oldest and of the newest version that apt has.
func fetch(ctx context.Context, dir, pkgs, file string) (from, to string, versions [2]string, err error) {
	var trees [2][]string
	for pkg := range strings.FieldsSeq(pkgs) {
		out, err := exec.CommandContext(ctx, "apt-cache", "madison", pkg).Output() //nolint:gosec // names of this file
		if err != nil {
			return "", "", versions, fmt.Errorf("apt-cache: %w", err)
		}
		var have []string
		for line := range strings.Lines(string(out)) {
			if f := strings.Split(line, "|"); len(f) == 3 && strings.Contains(f[2], "Packages") {
				have = append(have, strings.TrimSpace(f[1]))
			}
		}
		slices.SortFunc(have, func(a, b string) int {
			if exec.CommandContext(ctx, "dpkg", "--compare-versions", a, "lt", b).Run() == nil { //nolint:gosec // versions that apt gave
				return -1
			}
			return 1
		})
		have = slices.Compact(have)
		if len(have) < 2 {
			return "", "", versions, fmt.Errorf("apt has one version of %s only", pkg)
		}
		for i, v := range []string{have[0], have[len(have)-1]} {
			versions[i] = v
			tree := filepath.Join(dir, pkg+"_"+strings.ReplaceAll(v, ":", "%3a"))
			if _, err := os.Stat(tree); err != nil {
				if err := unpack(ctx, pkg, v, tree); err != nil {
					return "", "", versions, err
				}
			}
			trees[i] = append(trees[i], tree)
		}
	}
	var images [2]string
	for i := range trees {
		if file == "" {
			images[i] = filepath.Join(dir, fmt.Sprintf("%s-%d-%d.tar", strings.Fields(pkgs)[0], len(trees[i]), i))
			if err := pack(images[i], trees[i]); err != nil {
				return "", "", versions, err
			}
			continue
		}
		found, err := filepath.Glob(filepath.Join(trees[i][0], file))
		if err != nil || len(found) == 0 {
			return "", "", versions, fmt.Errorf("no %s in %s", file, trees[i][0])
		}
		images[i] = found[0]
	}
	if len(trees[0]) > 1 {
		versions = [2]string{"oldest", "newest"}
	}
	return images[0], images[1], versions, nil
}

func unpack(ctx context.Context, pkg, version, tree string) error {
	tmp, err := os.MkdirTemp("", "deb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	get := exec.CommandContext(ctx, "apt-get", "download", "-qq", pkg+"="+version) //nolint:gosec // names of this file
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download %s=%s: %w\n%s", pkg, version, err, out)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s=%s gave %v", pkg, version, debs)
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], tree).CombinedOutput(); err != nil { //nolint:gosec // see above
		return fmt.Errorf("dpkg-deb: %w\n%s", err, out)
	}
	return nil
}

// pack writes trees as one tar, in the order of their names and without times,
// as a reproducible image has them.
func pack(path string, trees []string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	defer func() { err = errors.Join(err, w.Close(), f.Close()) }()
	for _, tree := range trees {
		err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path) //nolint:gosec // below the tree
			if err != nil {
				return err
			}
			name, err := filepath.Rel(tree, path)
			if err != nil {
				return err
			}
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
				return err
			}
			_, err = w.Write(b)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func compare(ctx context.Context, dir, from, to string, slow bool) (map[string]measured, error) {
	out := map[string]measured{}
	info, err := os.Stat(to)
	if err != nil {
		return nil, err
	}
	out["image"] = measured{size: info.Size()}
	patch := filepath.Join(dir, "patch")
	for _, tool := range []struct {
		name string
		args []string
	}{
		{"zstd", []string{"zstd", "-19", "-q", "-f", to, "-o", patch}},
		{"patch-from", []string{"zstd", "-19", "-q", "-q", "-f", "--patch-from=" + from, to, "-o", patch}},
		{"xdelta3", []string{"xdelta3", "-e", "-9", "-f", "-S", "djw", "-B", "1000000000", "-s", from, to, patch}},
		{"bsdiff", []string{"bsdiff", from, to, patch}},
	} {
		if _, err := exec.LookPath(tool.args[0]); err != nil || tool.name == "bsdiff" && !slow {
			continue
		}
		_ = os.Remove(patch)
		began := time.Now()
		cmd := exec.CommandContext(ctx, tool.args[0], tool.args[1:]...) //nolint:gosec // the table above
		if words, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", tool.name, err, words)
		}
		m := measured{took: time.Since(began)}
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			m.peak = u.Maxrss
		}
		if info, err = os.Stat(patch); err != nil {
			return nil, err
		}
		m.size = info.Size()
		out[tool.name] = m
	}
	out["fettle"], err = ours(ctx, from, to)
	return out, err
}

func ours(ctx context.Context, from, to string) (measured, error) {
	old, err := os.Open(from)
	if err != nil {
		return measured{}, err
	}
	defer func() { _ = old.Close() }()
	next, err := os.Open(to)
	if err != nil {
		return measured{}, err
	}
	defer func() { _ = next.Close() }()
	var patch bytes.Buffer
	began := time.Now()
	made, err := delta.Make(ctx, &patch, old, next, nil)
	if err != nil {
		return measured{}, err
	}
	m := measured{size: made.Size, took: time.Since(began), peak: made.Memory >> 10}
	was, err := os.ReadFile(from)
	if err != nil {
		return m, err
	}
	h := sha256.New()
	n, err := io.Copy(h, next)
	if err != nil {
		return m, err
	}
	began = time.Now()
	err = unit.Apply(io.Discard, &patch, was, unit.Want{Length: n, SHA256: hex.EncodeToString(h.Sum(nil)), Window: uint64(made.Window)})
	m.apply = time.Since(began)
	return m, err
}
