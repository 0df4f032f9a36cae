package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stepd/stepd/sdk/sdktest"
)

func TestCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("one two\nthree\nfour five six\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sdktest.New(t, plugin)
	first := h.Execute(t.Context(), sdktest.Start{Settings: settings{File: path, FailAt: 2}})
	if first.Completed() || first.Message != "the ink ran out" {
		t.Fatalf("%v: %s", first.Status, first.Message)
	}
	again := h.Execute(t.Context(), sdktest.Start{Settings: settings{File: path, FailAt: 2}, Attempt: 2, Checkpoint: first.LastCheckpoint()})
	again.RequireCompleted(t)
	var got counts
	again.Output(t, "counts", &got)
	if want := (counts{Lines: 3, Words: 6, From: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
