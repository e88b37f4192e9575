package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// DDI is the update client of one unit, as SWUpdate's suricatta is.
type DDI struct {
	HTTP   *http.Client
	Base   string // scheme://host:port
	UnitID string
	Token  string
}

// Poll is the answer to a poll: hrefs, empty where there is nothing.
type Poll struct {
	Deployment, Cancel, ConfigData, Confirmation string
}

// Deployment is what is to be installed.
type Deployment struct {
	ID       string
	Filename string
	Size     int64
	SHA256   string
	Download string
	Version  string
}

// ErrBadImage says that the bytes are not those of the deployment.
var ErrBadImage = errors.New("the artifact's hash is not the one announced")

func (d *DDI) call(ctx context.Context, method, href string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if strings.HasPrefix(href, "/") {
		href = d.Base + href
	}
	req, err := http.NewRequestWithContext(ctx, method, href, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "TargetToken "+d.Token)
	res, err := d.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		_ = res.Body.Close()
		return nil, &StatusError{res.StatusCode, method, req.URL.Path, strings.TrimSpace(string(b))}
	}
	return res, nil
}

func (d *DDI) get(ctx context.Context, href string, out any) error {
	res, err := d.call(ctx, http.MethodGet, href, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("answer of GET %s: %w", href, err)
	}
	return nil
}

// post wants exactly 200 and an empty body, as rauc-hawkbit-updater does.
func (d *DDI) post(ctx context.Context, method, href string, in any) error {
	res, err := d.call(ctx, method, href, in)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64))
	if err != nil {
		return err
	}
	if len(b) != 0 {
		return fmt.Errorf("%s %s: the body of a success must be empty, got %q", method, href, b)
	}
	return nil
}

// Poll asks what there is to do.
func (d *DDI) Poll(ctx context.Context) (Poll, error) {
	type link struct {
		Href string `json:"href"`
	}
	var out struct {
		Links struct {
			DeploymentBase   link `json:"deploymentBase"`
			CancelAction     link `json:"cancelAction"`
			ConfigData       link `json:"configData"`
			ConfirmationBase link `json:"confirmationBase"`
		} `json:"_links"`
	}
	err := d.get(ctx, "/DEFAULT/controller/v1/"+d.UnitID, &out)
	l := out.Links
	return Poll{l.DeploymentBase.Href, l.CancelAction.Href, l.ConfigData.Href, l.ConfirmationBase.Href}, err
}

// Deployment reads what is to be installed.
func (d *DDI) Deployment(ctx context.Context, href string) (Deployment, error) {
	var in struct {
		ID         string `json:"id"`
		Deployment struct {
			Chunks []struct {
				Version   string `json:"version"`
				Artifacts []struct {
					Filename string `json:"filename"`
					Size     int64  `json:"size"`
					Hashes   struct {
						SHA256 string `json:"sha256"`
						SHA1   string `json:"sha1"`
					} `json:"hashes"`
					Links map[string]struct {
						Href string `json:"href"`
					} `json:"_links"`
				} `json:"artifacts"`
			} `json:"chunks"`
		} `json:"deployment"`
	}
	if err := d.get(ctx, href, &in); err != nil {
		return Deployment{}, err
	}
	if len(in.Deployment.Chunks) != 1 || len(in.Deployment.Chunks[0].Artifacts) != 1 {
		return Deployment{}, fmt.Errorf("deployment %s: want one chunk with one artifact", in.ID)
	}
	chunk := in.Deployment.Chunks[0]
	a := chunk.Artifacts[0]
	if a.Hashes.SHA256 == "" || a.Hashes.SHA1 == "" {
		return Deployment{}, fmt.Errorf("deployment %s: hashes are missing", in.ID)
	}
	out := Deployment{ID: in.ID, Filename: a.Filename, Size: a.Size, SHA256: a.Hashes.SHA256, Version: chunk.Version}
	for _, name := range []string{"download-http", "download"} {
		if l, ok := a.Links[name]; ok && out.Download == "" {
			out.Download = l.Href
		}
	}
	if out.Download == "" {
		return Deployment{}, fmt.Errorf("deployment %s: no download link", in.ID)
	}
	return out, nil
}

// Fetch downloads the artifact and checks its hash, after a HEAD, as SWUpdate does.
func (d *DDI) Fetch(ctx context.Context, dep Deployment) error {
	head, err := d.call(ctx, http.MethodHead, dep.Download, nil)
	if err != nil {
		return err
	}
	_ = head.Body.Close()
	if head.ContentLength != dep.Size {
		return fmt.Errorf("deployment %s: %d bytes announced, HEAD says %d", dep.ID, dep.Size, head.ContentLength)
	}
	res, err := d.call(ctx, http.MethodGet, dep.Download, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, res.Body); err != nil {
		return fmt.Errorf("download of %s: %w", dep.Filename, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != dep.SHA256 {
		return ErrBadImage
	}
	return nil
}

// Feedback tells how deployment id goes. Execution is proceeding, closed or
// another word of the protocol; finished is none, success or failure.
func (d *DDI) Feedback(ctx context.Context, id, execution, finished string, at time.Time, details ...string) error {
	return d.post(ctx, http.MethodPost, "/DEFAULT/controller/v1/"+d.UnitID+"/deploymentBase/"+id+"/feedback", feedback(id, execution, finished, at, details))
}

// CancelFeedback agrees to a cancel (or refuses it).
func (d *DDI) CancelFeedback(ctx context.Context, href string, agree bool, at time.Time) error {
	var in struct {
		ID string `json:"id"`
	}
	if err := d.get(ctx, href, &in); err != nil {
		return err
	}
	execution := "closed"
	if !agree {
		execution = "rejected"
	}
	path, _, _ := strings.Cut(href, "?")
	return d.post(ctx, http.MethodPost, path+"/feedback", feedback(in.ID, execution, "success", at, nil))
}

// PutConfigData tells the unit's attributes.
func (d *DDI) PutConfigData(ctx context.Context, href string, data map[string]string, at time.Time) error {
	body := map[string]any{"mode": "merge", "data": data, "time": at.UTC().Format("20060102T150405")}
	return d.post(ctx, http.MethodPut, href, body)
}

func feedback(id, execution, finished string, at time.Time, details []string) map[string]any {
	if details == nil {
		details = []string{}
	}
	return map[string]any{
		"id":   id,
		"time": at.UTC().Format("20060102T150405"),
		"status": map[string]any{
			"execution": execution,
			"result":    map[string]any{"finished": finished},
			"details":   details,
		},
	}
}
