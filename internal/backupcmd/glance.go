package backupcmd

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/recovery"
)

// located are the settings by which a repository is found. None of them is secret.
var located = []string{"COVET_REPO", "COVET_SERVICE", "COVET_S3_ENDPOINT", "S3_REGION", "COVET_S3_CA_FILE", "COVET_S3_VIRTUAL_HOST", "BACKUP_RPO", "BACKUP_RTO"}

// Located are the settings, as the environment has them, by which another process finds the same repository.
func Located(getenv func(string) string) map[string]string {
	out := map[string]string{}
	for _, name := range located {
		if v := getenv(name); v != "" {
			out[name] = v
		}
	}
	return out
}

// Glance is how recoverable the database is by what its repository answers within a time; what doesn't answer in it is unknown,
// and said to be. seen is what was known of the server's log before. nil where no repository is named.
func Glance(ctx context.Context, limit time.Duration, seen []recovery.Position) *recovery.Summary {
	if os.Getenv("COVET_REPO") == "" {
		return nil
	}
	config, err := LoadConfig(os.Getenv)
	if err != nil {
		return &recovery.Summary{Repository: os.Getenv("COVET_REPO"), Unknown: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got := make(chan *recovery.Summary, 1)
	go func() { got <- glance(ctx, config, seen) }() // a file system or a resolver that hangs heeds no context
	select {
	case s := <-got:
		if ctx.Err() == nil || s.Unknown == "" {
			return s
		}
	case <-ctx.Done():
	}
	return &recovery.Summary{Repository: config.Repo, Unknown: fmt.Sprintf("%s was asked for %s, and has not answered", config.Repo, limit)}
}

func glance(ctx context.Context, config Config, seen []recovery.Position) *recovery.Summary {
	p, err := judged(ctx, config, seen)
	if err != nil {
		return &recovery.Summary{Repository: config.Repo, Unknown: err.Error()}
	}
	return p.Summary()
}

// judged is how recoverable the database is by what its repository and its server answer.
func judged(ctx context.Context, config Config, seen []recovery.Position) (recovery.Posture, error) {
	o := recovery.Observed{Positions: seen, Unnamed: true}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if dsn := Database(); dsn != "" {
			o.Unnamed = false
			ctx, cancel := context.WithTimeout(ctx, askLimit)
			defer cancel()
			p, err := pgwire.ReadPosition(ctx, dsn)
			if o.Err = err; err == nil {
				o.Positions = append(o.Positions, p)
			}
		}
	}()
	facts, err := Look(ctx)
	<-asked
	if err != nil {
		return recovery.Posture{}, err
	}
	return recovery.Judge(facts, o, config.Schedule, config.Objectives, time.Now().UTC()), nil
}
