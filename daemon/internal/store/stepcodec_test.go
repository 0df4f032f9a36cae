package store

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stepd/stepd/daemon/internal/task"
)

// fullStep has something in every field, whatever fields there are.
func fullStep(t *testing.T) task.RunStep {
	t.Helper()
	var s task.RunStep
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(i), 123456789).UTC()))
		case json.RawMessage:
			field.SetBytes([]byte(`{"a":1}`))
		case task.Position: // the key's
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString("word of " + name)
			case reflect.Int, reflect.Int64:
				field.SetInt(int64(-1000 * (i + 1)))
			case reflect.Float64:
				field.SetFloat(0.1)
			case reflect.Bool:
				field.SetBool(true)
			default:
				t.Fatalf("the codec has to learn the kind of %s", name)
			}
		}
	}
	return s
}

func TestStepCodecKeepsEveryField(t *testing.T) {
	want := fullStep(t)
	got, err := parseStep(appendStep(nil, &want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a step came back changed (-want +got):\n%s", diff)
	}
	var zero task.RunStep
	if b := appendStep(nil, &zero); len(b) != 0 {
		t.Errorf("a zero step takes %d bytes", len(b))
	}
}

func TestStepCodecPassesOverWhatItDoesNotKnow(t *testing.T) {
	want := fullStep(t)
	b := protowire.AppendTag(nil, 200, protowire.BytesType)
	b = protowire.AppendString(b, "of a later version")
	got, err := parseStep(appendStep(b, &want))
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("with an unknown field: %v, %s", err, cmp.Diff(want, got))
	}
}

func FuzzParseStep(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendStep(nil, &task.RunStep{Name: "x", Attempt: 3, EndedAt: time.Unix(1, 2)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStep(b)
		if err != nil {
			return
		}
		again, err := parseStep(appendStep(nil, &s))
		if err != nil || !cmp.Equal(s, again, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })) {
			t.Errorf("%x reads as %+v and then as %+v (%v)", b, s, again, err)
		}
	})
}
