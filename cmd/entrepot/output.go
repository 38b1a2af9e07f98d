package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the result of a command: v as JSON if that was asked for, else what
// the function writes for people. Columns are separated by tabs and aligned.
func (p *process) print(j jsonFlag, v any, people func(io.Writer)) error {
	if !j.JSON {
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		people(table)
		return table.Flush()
	}
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
