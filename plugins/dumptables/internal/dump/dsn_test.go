package dump

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/stepd/stepd/sdk"
)

func TestSchemaRefusesPasswordsInADSN(t *testing.T) {
	holds := regexp.MustCompile(passwordInDSN)
	for dsn, want := range map[string]bool{
		"mysql://backup:hunter2@localhost/shop":             true,
		"mysql://backup:hun/ter#2?x@localhost/shop":         true,
		"mysql://backup:@localhost/shop":                    true,
		"Postgres://backup:hunter2@localhost/shop":          true,
		"postgresql://backup:h@nter2@/shop?host=/run":       true,
		"postgres://backup@h/shop?sslmode=x&password=abc":   true,
		"mysql://backup@/shop?pwd=abc":                      true,
		"mysql:backup:hunter2@tcp(localhost)/shop":          true,
		"mysql://backup@localhost:3306/shop":                false,
		"mysql://a%40b@[::1]:3306/shop?socket=/x:y@z":       false,
		"postgres://backup@/shop?host=/run/postgresql":      false,
		"sqlite:./shop:old@home.db":                         false,
		"sqlite:/var/lib/shop.db":                           false,
		"postgres://backup@h:5432/shop?sslmode=verify-full": false,
	} {
		if got := holds.MatchString(dsn); got != want {
			t.Errorf("%s: %v, want %v", dsn, got, want)
		}
	}
	for _, settings := range []any{Settings{}, RestoreSettings{}} {
		raw, err := sdk.SettingsSchema(settings)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Properties map[string]struct {
				Type, Description string
				MinLength         int
				Not               struct{ Pattern, Title, Description string }
			}
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		dsn := schema.Properties["dsn"]
		if dsn.Not.Pattern != passwordInDSN || dsn.Not.Title == "" || dsn.Not.Description == "" || dsn.Type != "string" || dsn.MinLength != 1 || dsn.Description == "" {
			t.Errorf("the schema of %T has %+v", settings, dsn)
		}
	}
}
