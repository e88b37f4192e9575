// Package artifact holds the commands about images: uploading them, and what
// units fetch of a release.
package artifact

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Size   func(bytes int64) string
	Names  func(kind string) cobra.CompletionFunc // completion
}

// Progress shows on a terminal how far uploads are.
func Progress(out io.Writer) func(name string, total int64) func(done int64) {
	return func(name string, total int64) func(int64) {
		f, ok := out.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return func(int64) {}
		}
		bars := mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
		bar := bars.AddBar(total, mpb.PrependDecorators(decor.Name(name+" ")), mpb.AppendDecorators(decor.CountersKibiByte("% .1f of % .1f"), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
		ended := false
		return func(done int64) {
			if ended {
				return
			}
			bar.SetCurrent(done)
			if done >= total {
				ended = true
				bars.Wait()
			}
		}
	}
}

// Command is the command artifact.
func Command(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "artifact", Aliases: []string{"artifacts"}, Short: "Upload images, and see what units fetch of a release",
		Long: `Images of releases. They are known by their SHA-256; the same bytes are kept once.

"fettle apply" uploads the images that Releases name by path; put does the same
before, for images of a build server. Both go on where an upload was cut.`,
	}
	cmd.AddCommand(s.put(), s.show(), s.uploads(), s.cancel(), s.sizes())
	return cmd
}

func (s Shared) put() *cobra.Command {
	return &cobra.Command{
		Use: "put FILE...", Short: "Upload images",
		Long: `Upload images, in pieces (tus 1.0.0). What the service has is not sent again; what
was cut goes on where it was, for a week, when the same command is run again.
Prints the reference that a Release names the image by.`,
		Example: "  fettle artifact put charger-2.0.0.swu\n  fettle artifact put build/*.swu -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			type put struct {
				File     string `json:"file"`
				Artifact string `json:"artifact"`
			}
			out := []put{}
			for _, path := range args {
				sum, err := s.Client.Upload(cmd.Context(), path)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				out = append(out, put{path, "sha256:" + sum})
			}
			return s.Print(cmd, out, func(w io.Writer) {
				for _, p := range out {
					s.Row(w, p.Artifact, p.File)
				}
			})
		},
	}
}

func (s Shared) show() *cobra.Command {
	return &cobra.Command{
		Use: "show SHA256", Short: "What is known of an image", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var a wire.Artifact
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/artifacts/"+url.PathEscape(args[0]), nil, &a); err != nil {
				return err
			}
			return s.Print(cmd, a, func(w io.Writer) {
				s.Row(w, "file", a.Filename)
				s.Row(w, "size", s.Size(a.Size))
				s.Row(w, "uploaded", a.At)
				s.Row(w, "sha256", a.SHA256)
				s.Row(w, "sha1", a.SHA1)
				s.Row(w, "md5", a.MD5)
			})
		},
	}
}

func (s Shared) uploads() *cobra.Command {
	return &cobra.Command{
		Use: "uploads", Short: "List uploads, finished ones for a week", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := client.All[wire.Upload](cmd.Context(), s.Client, "/v1/uploads", nil)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "ID", "FILE", "ARRIVED", "OF", "LAST PIECE", "FORGOTTEN", "ARTIFACT")
				for _, u := range list {
					s.Row(w, u.ID, u.Filename, s.Size(u.Offset), s.Size(u.Length), u.At, u.Expires, u.SHA256)
				}
			})
		},
	}
}

func (s Shared) cancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel UPLOAD", Short: "Cancel an upload and remove what has arrived of it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.Client.CancelUpload(cmd.Context(), args[0])
		},
	}
}

func (s Shared) sizes() *cobra.Command {
	return &cobra.Command{
		Use: "sizes RELEASE", Short: "What units of each version fetch of a release",
		Long: `For each version that units report, those that most have first: the bytes of the
image, and the bytes that a unit fetches whose client takes deltas (fettle-agent,
unitkit). Deltas are made in the background for the newest release of a product
and for those on their way to units.`,
		Example: "  fettle artifact sizes charger-2.0.0",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := client.All[wire.ReleaseSize](cmd.Context(), s.Client, "/v1/releases/"+url.PathEscape(args[0])+"/sizes", nil)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "COMPONENT", "FROM VERSION", "UNITS", "IMAGE", "FETCHED", "AS", "DELTA")
				for _, r := range list {
					version, as, state := r.Version, r.Coding, r.State
					if version == "" {
						version = "any other"
					}
					if as == "" {
						as = "image"
					}
					if state == "running" {
						state = fmt.Sprintf("running, %.0f %%", 100*r.Done)
					}
					if r.Why != "" && r.State != "ready" {
						state += " (" + r.Why + ")"
					}
					s.Row(w, r.Component, version, r.Units, s.Size(r.Full), s.Size(r.Size), as, state)
				}
			})
		},
	}
}
