package campaign

// SiteAttribute is the attribute of a unit that names where it stands, as a
// depot or a workshop: units that share a line.
const SiteAttribute = "site"

// leastRate is a rate below which a client's line looks dead.
const leastRate = 1024

func (c *Campaign) validateDownload(add func(string, string, any)) {
	for _, r := range []struct {
		path string
		v    int64
	}{{"downloadRate", c.DownloadRate}, {"siteDownloadRate", c.SiteDownloadRate}} {
		if r.v != 0 && r.v < leastRate {
			add(r.path, "at least 1024 bytes a second, or 0: no limit", r.v)
		}
	}
}
