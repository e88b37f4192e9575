package campaign

import "context"

// EachTask calls fn for each task that a filter picks, by id, and reads them a
// page at a time (f.Limit: its size, default 5000), so that a campaign of any
// size fits in memory. An error of fn ends it.
func EachTask(ctx context.Context, s interface {
	Tasks(ctx context.Context, f TaskFilter) ([]Task, error)
}, f TaskFilter, fn func(*Task) error,
) error {
	if f.Limit <= 0 {
		f.Limit = memberPage
	}
	for {
		page, err := s.Tasks(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		if len(page) < f.Limit {
			return nil
		}
		f.After = page[len(page)-1].ID
	}
}
