package taskfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Document is the task as JSON with the keys of a task file: what Format writes,
// in the same order. Parse reads it back with Source.JSON.
func Document(t task.Task) (json.RawMessage, error) {
	root, err := document(t)
	if err != nil {
		return nil, fmt.Errorf("write the definition of task %s: %w", t.Name, err)
	}
	return nodeJSON(root), nil
}

// nodeJSON writes a node that document made.
func nodeJSON(n *yaml.Node) json.RawMessage {
	var b bytes.Buffer
	writeJSON(&b, n)
	return b.Bytes()
}

func writeJSON(b *bytes.Buffer, n *yaml.Node) {
	text := func(s string) {
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s)       // a buffer takes everything, and every text is JSON
		b.Truncate(b.Len() - 1) // without the line end
	}
	switch {
	case n.Kind == yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			text(n.Content[i].Value)
			b.WriteByte(':')
			writeJSON(b, n.Content[i+1])
		}
		b.WriteByte('}')
	case n.Kind == yaml.SequenceNode:
		b.WriteByte('[')
		for i, child := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, child)
		}
		b.WriteByte(']')
	case n.Tag == "!!str":
		text(n.Value)
	default: // a number, true, false or null
		b.WriteString(n.Value)
	}
}

// readJSON brings a JSON text to nodes. They have no positions: faults of such a
// document name its paths.
func (p *parser) readJSON(data []byte) *yaml.Node {
	if len(data) > MaxFile {
		p.at(0, 0, "", fmt.Sprintf("the task is %d bytes long, at most %d are allowed", len(data), MaxFile), manySteps)
		return nil
	}
	decoder := jsonDecoder(data)
	root, err := jsonNode(decoder, 0)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands behind the task")
		}
	}
	if err != nil {
		p.at(0, 0, "", "this is not valid JSON: "+strings.TrimPrefix(err.Error(), "json: "), "")
		return nil
	}
	return root
}

// jsonDecoder reads numbers as they are written.
func jsonDecoder(data []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d
}

var errTooDeep = fmt.Errorf("values are nested too deep: at most %d levels are allowed", 2*maxDepth)

// jsonNode reads the next value.
func jsonNode(d *json.Decoder, depth int) (*yaml.Node, error) {
	if depth > 2*maxDepth { // what is checked value by value is held to less
		return nil, errTooDeep
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	scalar := func(tag, value string, style yaml.Style) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Style: style}
	}
	switch v := token.(type) {
	case string:
		return scalar("!!str", v, yaml.DoubleQuotedStyle), nil
	case bool:
		return scalar("!!bool", fmt.Sprint(v), 0), nil
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return scalar("!!float", string(v), 0), nil
		}
		return scalar("!!int", string(v), 0), nil
	case nil:
		return scalar("!!null", "", 0), nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if token == json.Delim('[') {
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	}
	for d.More() {
		if n.Kind == yaml.MappingNode {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, scalar("!!str", key.(string), yaml.DoubleQuotedStyle))
		}
		child, err := jsonNode(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	_, err = d.Token() // the bracket that closes it
	return n, err
}
