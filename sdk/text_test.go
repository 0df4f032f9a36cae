package sdk_test

import (
	"testing"

	"github.com/stepd/stepd/sdk"
)

func TestBytesAreDecimal(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 KB", 447_200: "447 KB", 999_499: "999 KB", 999_500: "1.0 MB",
		4_100_000: "4.1 MB", 999_949_999: "999.9 MB", 999_950_000: "1.0 GB", 2_500_000_000_000: "2.5 TB"} {
		if got := sdk.Bytes(bytes); got != want {
			t.Errorf("%d is %s, want %s", bytes, got, want)
		}
	}
}

func TestCountKnowsOne(t *testing.T) {
	for n, want := range map[int64]string{0: "0 files", 1: "1 file", 2: "2 files"} {
		if got := sdk.Count(n, "file"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
