package store

import (
	"encoding/json"
	"fmt"
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
	fillFields(t, reflect.ValueOf(&s).Elem(), 1)
	return s
}

func fillFields(t *testing.T, v reflect.Value, seed int) {
	t.Helper()
	for i := range v.NumField() {
		field, name, n := v.Field(i), v.Type().Field(i).Name, seed*100+i
		switch field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(n), 123456789).UTC()))
			continue
		case json.RawMessage:
			field.SetBytes([]byte(`{"a":1}`))
			continue
		case task.Position: // the key's
			continue
		case map[string]int64:
			field.Set(reflect.ValueOf(map[string]int64{"rows": int64(n), "zero": 0, "below": -1}))
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(fmt.Sprint("word of ", name, n))
		case reflect.Int, reflect.Int64:
			field.SetInt(int64(-1000 * n))
		case reflect.Float64:
			field.SetFloat(0.1 + float64(n))
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
			fillFields(t, field.Elem(), n)
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 3, 3))
			for j := range 2 { // the third stays zero
				fillFields(t, field.Index(j), n+j)
			}
		default:
			t.Fatalf("the codec has to learn the kind of %s", name)
		}
	}
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
	want = task.RunStep{Cancel: new(task.CancelRequest)}
	if got, err := parseStep(appendStep(nil, &want)); err != nil || !cmp.Equal(want, got) {
		t.Errorf("a wish to cancel without a word: %v, %v", got, err)
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
	f.Add(appendStep(nil, &task.RunStep{Cancel: &task.CancelRequest{By: "x", At: time.Unix(1, 2)}, Counters: map[string]int64{"": 0, "b": -1}, Tried: make([]task.Tried, 2)}))
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
