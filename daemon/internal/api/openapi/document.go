package openapi

import "errors"

// JSON is the OpenAPI 3.1 document.
func JSON() ([]byte, error) { return nil, errors.New("this is not built yet") }

// HTML is the document as a page for people.
func HTML() ([]byte, error) { return nil, errors.New("this is not built yet") }
