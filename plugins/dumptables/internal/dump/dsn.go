package dump

import "github.com/invopop/jsonschema"

// DSN says where a database is, without a password: it is stored and shown with
// the task.
type DSN string

// passwordInDSN finds one in an address (behind the user, up to an @), in the
// form that drivers have, and in parameters.
const passwordInDSN = `^[A-Za-z]+://[^/?#@:]*:.*@|^(mysql|mariadb|postgres|postgresql):[^/?#@:]+:.*@|[?&](password|passwd|pass|pwd|sslpassword)=`

// JSONSchema refuses a password before the task is stored. It is a "not", as a
// fault of that kind does not repeat the value.
func (DSN) JSONSchema() *jsonschema.Schema {
	one := uint64(1)
	return &jsonschema.Schema{
		Type: "string", MinLength: &one,
		Not: &jsonschema.Schema{
			Pattern:     passwordInDSN,
			Title:       "holds a password, which everybody who may see the task would see",
			Description: "take it out and use the setting password_file or password",
		},
	}
}
