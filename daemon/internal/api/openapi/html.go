package openapi

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

// page is the template of HTML.
//
//go:embed page.html
var page string

// HTML is the description as a page for people: without scripts, and without
// anything from elsewhere.
func HTML() ([]byte, error) {
	v, err := viewed()
	if err != nil {
		return nil, err
	}
	t, err := template.New("page").Parse(page)
	if err != nil {
		return nil, fmt.Errorf("read the template of the documentation: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("make the page of the documentation: %w", err)
	}
	return b.Bytes(), nil
}
