package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Marshal encodes v, which must become a JSON object, with "schema" as its
// first field. All JSON that leaves the daemon or the command line is made here.
func Marshal(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it is read by people and jq, never put into a page as it is
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	text := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	if len(text) < 2 || text[0] != '{' {
		return nil, fmt.Errorf("encode %T: it is no JSON object", v)
	}
	out := append([]byte(`{"schema":`), strconv.Itoa(Schema)...)
	if len(text) > 2 {
		out = append(out, ',')
	}
	return append(out, text[1:]...), nil
}
