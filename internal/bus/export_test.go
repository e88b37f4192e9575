package bus

import "context"

// CheckFiles is for benchmarks.
var CheckFiles = checkFiles

// Consumers is how many the server has of the stream.
func (b *Bus) Consumers(ctx context.Context) (int, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Consumers, nil
}
