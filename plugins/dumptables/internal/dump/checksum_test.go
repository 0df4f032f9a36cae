package dump

import "testing"

func TestChecksumKnowsNoOrderButEveryByte(t *testing.T) {
	sum := func(rows ...[]string) string {
		c := NewChecksum()
		for _, row := range rows {
			for _, value := range row {
				if value == "NULL" {
					c.Value(nil)
				} else {
					c.Value([]byte(value))
				}
			}
			c.Row()
		}
		return c.String()
	}
	one := sum([]string{"a", "b"}, []string{"c", ""})
	if one != sum([]string{"c", ""}, []string{"a", "b"}) {
		t.Error("the order of rows counts")
	}
	for _, other := range [][][]string{
		{{"a", "b"}, {"c", "NULL"}}, {{"ab", ""}, {"c", ""}}, {{"b", "a"}, {"c", ""}}, {{"a", ""}, {"c", "b"}}, {{"a", "b"}}, {{"a", "b"}, {"c", ""}, {"", ""}},
	} {
		if sum(other...) == one {
			t.Errorf("%q has the same sum", other)
		}
	}
}
