package backupcmd

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/recovery"
)

// shownSetting is one line of backup config.
type shownSetting struct {
	Group   string `json:"group"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Source  string `json:"source"` // flag, environment, FILE:LINE, default
	Problem string `json:"problem,omitempty"`
	Help    string `json:"help"`
}

func configCommand(from Sources) *cobra.Command {
	var o output
	var file string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check the configuration of backups, with the source of each value",
		Long: `Show and check the configuration of backups: repository, encryption, database, schedule, retention, objectives and drills,
each with where its value is from. Every setting is an environment variable, or a key of the YAML file that covetd has too:
--config, or COVET_CONFIG. Exits with 2 where a value is wrong; covetctl backup init tries the repository and the server out.`,
		Example: `  covetctl backup config
  covetctl backup config --config /etc/covet/shop.yaml -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showConfig(cmd, &o, from) },
	}
	o.add(cmd)
	cmd.Flags().StringVar(&file, "config", os.Getenv("COVET_CONFIG"), "covetd's YAML file (COVET_CONFIG)")
	return cmd
}

func showConfig(cmd *cobra.Command, o *output, from Sources) error {
	if err := o.check(); err != nil {
		return err
	}
	shown, bad := effective(from, os.Getenv)
	err := o.print(cmd.OutOrStdout(), shown, func(w io.Writer) error { return printConfig(w, shown) })
	if err == nil && bad > 0 {
		err = usage(fmt.Errorf("%d of the settings above are wrong", bad))
	}
	return err
}

// effective is what holds, and how much of it is wrong.
func effective(from Sources, getenv func(string) string) (out []shownSetting, bad int) {
	var c Config
	for _, s := range Settings() {
		value := getenv(s.Name)
		source := cmp.Or(from[s.Name], "environment")
		switch {
		case value == "" && s.Name == "BACKUP_DATABASE_URL" && getenv("DATABASE_URL") != "":
			value, source = getenv("DATABASE_URL"), cmp.Or(from["DATABASE_URL"], "DATABASE_URL")
		case value == "":
			value, source = s.Default, "default"
		}
		line := shownSetting{Group: s.Group, Name: s.Name, Value: value, Source: source, Help: s.Help}
		if err := s.Set(&c, value); err != nil {
			line.Problem = err.Error()
			bad++
		}
		if s.Secret {
			line.Value = maskURL(line.Value)
		}
		if line.Value == "" {
			line.Source = "unset"
		}
		out = append(out, line)
	}
	for _, name := range outside {
		if v := getenv(name); v != "" && strings.Contains(name, "AGE_RECIPIENTS") {
			out = append(out, shownSetting{Group: "encryption", Name: name, Value: v, Source: cmp.Or(from[name], "environment"), Help: "who can read the repository"})
		}
	}
	if c.Policy.Empty() && !c.Schedule[recovery.Expire].Off() {
		for i := range out {
			if out[i].Name == "BACKUP_WINDOW" && out[i].Problem == "" {
				out[i].Problem = "expiry is scheduled, and no rule says what to keep: nothing will be removed"
				bad++
			}
		}
	}
	return out, bad
}

// maskURL hides a password.
func maskURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "********"
	}
	return u.Redacted()
}

func printConfig(w io.Writer, shown []shownSetting) error {
	var lines [][]string
	for _, s := range shown {
		says := s.Help
		if s.Problem != "" {
			says = "WRONG: " + s.Problem
		}
		lines = append(lines, []string{s.Group, s.Name, cmp.Or(s.Value, "-"), s.Source, says})
	}
	return rows(w, []string{"PART", "SETTING", "VALUE", "SOURCE", ""}, lines)
}
