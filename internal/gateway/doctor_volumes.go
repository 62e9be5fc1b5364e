package gateway

import (
	"context"
	"errors"
	"log/slog"

	"sango/internal/block/layered"
	"sango/internal/san"
)

// volumeFindings looks through the metadata and the volumes of a node that is
// not running, whose directory is free to use.
func volumeFindings(ctx context.Context, dir string) []Finding {
	const check = "volumes"
	rep, err := Check(ctx, Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}, nil, func(int, int) {})
	switch {
	case errors.Is(err, san.ErrNotFound):
		return []Finding{fine(check, "there are none yet")}
	case err != nil:
		return []Finding{{check, FindingFailed, err.Error(), "a node does not start like this: put right what it says, or restore the directory from a backup"}}
	}
	var out []Finding
	for _, p := range rep.Problems {
		state := FindingFailed
		switch p.Severity {
		case layered.Note.String():
			continue // the next start clears it up
		case layered.Warning.String():
			state = FindingWarning
		}
		out = append(out, Finding{"volume " + p.Volume, state, p.What, p.Advice})
	}
	if len(out) == 0 {
		out = append(out, fine(check, "%d without damage", rep.Volumes))
	}
	return out
}
