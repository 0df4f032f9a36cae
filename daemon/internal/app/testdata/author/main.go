// Command wordcount is a plugin as somebody outside the repository would write
// it: a controller with settings, progress, a checkpoint and an output. Only the
// SDK is imported.
package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/stepd/stepd/sdk"
)

type settings struct {
	File   string `json:"file" jsonschema:"required" jsonschema_description:"File whose words are counted."`
	FailAt int    `json:"fail_at,omitempty" jsonschema:"minimum=0" jsonschema_description:"Line at which the first attempt fails."`
}

type counts struct {
	Lines int `json:"lines"`
	Words int `json:"words"`
	From  int `json:"from"` // line at which this attempt began
}

var plugin = sdk.Plugin{Name: "wordcount", Version: "0.1.0", Controllers: []sdk.Registration{
	sdk.Controller[settings]{Summary: "Count the words of a file.", Effect: sdk.Resumable, Run: run},
}}

func main() { sdk.Serve(plugin) }

func run(ctx context.Context, step *sdk.Step[settings]) error {
	var saved counts
	if _, err := step.Resume(&saved); err != nil {
		return err
	}
	file, err := os.Open(step.Info.Path(step.Settings.File))
	if err != nil {
		return sdk.Permanent(err)
	}
	defer file.Close()
	now := counts{From: saved.Lines}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		now.Lines++
		now.Words += len(strings.Fields(lines.Text()))
		if now.Lines <= saved.Lines {
			now.Words = saved.Words
			continue
		}
		if err := step.Checkpoint(ctx, now); err != nil {
			return err
		}
		step.Progress(float64(now.Lines), 0, "counting")
		if now.Lines == step.Settings.FailAt && step.Info.Attempt == 1 {
			return errors.New("the ink ran out")
		}
	}
	step.Message("counted %d words", now.Words)
	return step.Output("counts", now)
}
