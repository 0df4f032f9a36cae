package sdk

import "fmt"

// Bytes is a size for people, in messages: decimal, and whole up to a
// megabyte. "0 B", "17 KB", "1.5 MB".
func Bytes(n int64) string {
	value := float64(n)
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case value < 999.5e3:
		return fmt.Sprintf("%.0f KB", value/1e3)
	case value < 999.95e6:
		return fmt.Sprintf("%.1f MB", value/1e6)
	case value < 999.95e9:
		return fmt.Sprintf("%.1f GB", value/1e9)
	}
	return fmt.Sprintf("%.1f TB", value/1e12)
}

// Count is a number of things for people: "1 file", "3 files".
func Count(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
