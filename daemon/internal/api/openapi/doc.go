// Package openapi describes the socket's routes, once: the server registers
// them, checks their parameters and asks for their roles from the same table
// that the OpenAPI 3.1 document, the page and the help text are made of.
//
// It answers nothing itself, and knows no backend.
package openapi
