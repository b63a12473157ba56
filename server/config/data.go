package config

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/server/pg"
)

// maxReplicas is how many DATABASE_REPLICA_n_URL there are.
const maxReplicas = 9

// DataConfig says where the service's data are.
type DataConfig struct {
	DatabaseURL  Secret              // of the primary; empty: no database
	ReplicaURLs  [maxReplicas]Secret // DATABASE_REPLICA_1_URL …; the empty ones are not there
	PoolSize     int                 // connections kept to each server
	MaxOverflow  int                 // and how many more for a while; in a Config made by hand 0 is the default and -1 is none
	ReplicaLag   time.Duration       // a replica further behind is not read
	StatementMax time.Duration       // of one statement

	RedisCacheURL   Secret // where cached answers are shared; REDIS_URL if empty
	RedisSessionURL Secret // where sessions of users are kept; REDIS_URL if empty
}

func defaultData() DataConfig {
	return DataConfig{PoolSize: 10, MaxOverflow: 40, ReplicaLag: 10 * time.Second, StatementMax: 30 * time.Second}
}

// fill gives a configuration made by hand the defaults for what it leaves empty.
func (c *DataConfig) fill() {
	def := defaultData()
	orNumber(&c.PoolSize, def.PoolSize)
	orNumber(&c.MaxOverflow, def.MaxOverflow)
	c.MaxOverflow = max(0, c.MaxOverflow)
	orTime(&c.ReplicaLag, def.ReplicaLag)
	orTime(&c.StatementMax, def.StatementMax)
}

func (c *DataConfig) settings() []Setting {
	out := []Setting{
		{Name: "DATABASE_URL", Help: "PostgreSQL primary; several hosts may stand in it", Example: "DATABASE_URL=postgres://shop:secret@db.internal:5432/shop?sslmode=verify-full", Secret: true, Set: databaseURL(&c.DatabaseURL)},
		{Name: "DATABASE_POOL_SIZE", Help: "connections kept to each server", Example: "DATABASE_POOL_SIZE=10", Default: fmt.Sprint(c.PoolSize), Set: Number(&c.PoolSize, 1, 1000)},
		{Name: "DATABASE_MAX_OVERFLOW", Help: "connections beyond those, for a while", Example: "DATABASE_MAX_OVERFLOW=40", Default: fmt.Sprint(c.MaxOverflow), Set: Number(&c.MaxOverflow, 0, 1000)},
		{Name: "DATABASE_REPLICA_MAX_LAG", Help: "a replica further behind is not read", Example: "DATABASE_REPLICA_MAX_LAG=10s", Default: c.ReplicaLag.String(), Set: Duration(&c.ReplicaLag)},
		{Name: "DATABASE_STATEMENT_TIMEOUT", Help: "the longest a statement may take", Example: "DATABASE_STATEMENT_TIMEOUT=30s", Default: c.StatementMax.String(), Set: Duration(&c.StatementMax)},
		{Name: "REDIS_CACHE_URL", Help: "Redis in which cached answers are shared; REDIS_URL if unset", Example: "REDIS_CACHE_URL=redis://127.0.0.1:6379/1", Secret: true, Set: redisURL(&c.RedisCacheURL)},
		{Name: "REDIS_SESSION_URL", Help: "Redis in which sessions of users are kept; REDIS_URL if unset", Example: "REDIS_SESSION_URL=redis://127.0.0.1:6379/2", Secret: true, Set: redisURL(&c.RedisSessionURL)},
	}
	for i := range c.ReplicaURLs {
		name := replicaName(i)
		out = append(out, Setting{Name: name, Help: "a replica, read where it is recent enough", Example: name + "=postgres://shop:secret@replica.internal:5432/shop?sslmode=verify-full", Secret: true, Set: databaseURL(&c.ReplicaURLs[i])})
	}
	return out
}

func replicaName(i int) string { return fmt.Sprintf("DATABASE_REPLICA_%d_URL", i+1) }

// databaseURL reads the address of a PostgreSQL server.
func databaseURL(dst *Secret) func(string) error {
	return func(v string) error {
		*dst = Secret(v)
		return pg.CheckURL(v)
	}
}

// conflicts finds what is wrong with the combination of values.
func (c *DataConfig) conflicts(environment string) []Fault {
	var out []Fault
	check := func(name string, url Secret) {
		if problem := pg.Insecure(url.Reveal()); url != "" && environment == Production && problem != "" {
			out = append(out, Fault{Name: name, Problem: problem, Example: name + "=postgres://…?sslmode=verify-full"})
		}
	}
	check("DATABASE_URL", c.DatabaseURL)
	for i, url := range c.ReplicaURLs {
		if url != "" && c.DatabaseURL == "" {
			out = append(out, Fault{Name: replicaName(i), Problem: "is set without DATABASE_URL", Example: "DATABASE_URL=postgres://…"})
		}
		check(replicaName(i), url)
	}
	return out
}
