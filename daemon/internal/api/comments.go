package api

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"
)

// sources is read by Comments alone.
//
//go:embed access.go errors.go runs.go schedules.go tasks.go types.go
var sources embed.FS

// Comments are the comments of the exported types of this package ("Task") and of
// their fields ("Task.CreatedAt"), each in one line. They are what the
// documentation of the socket says, so that nothing has to be said twice: write
// them for people who see the JSON.
func Comments() (map[string]string, error) {
	comments := map[string]string{}
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.TYPE {
				commentsOf(group, comments)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the comments of package api: %w", err)
	}
	return comments, nil
}

func commentsOf(group *ast.GenDecl, into map[string]string) {
	for _, spec := range group.Specs {
		named := spec.(*ast.TypeSpec)
		doc := named.Doc
		if doc == nil {
			doc = group.Doc
		}
		name := named.Name.Name
		into[name] = oneLine(doc)
		fields, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range fields.Fields.List {
			for _, ident := range field.Names {
				into[name+"."+ident.Name] = oneLine(field.Doc, field.Comment)
			}
		}
	}
}

func oneLine(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		parts = append(parts, strings.Fields(g.Text())...)
	}
	return strings.Join(parts, " ")
}
