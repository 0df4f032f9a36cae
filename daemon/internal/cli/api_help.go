package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

func newAPIHelp(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "The socket: each call, with what it takes and answers",
		Long: `The socket: each call, with what it takes and answers; with -o json as an OpenAPI 3.1
document. The daemon serves the same for its own version, as a page too.`,
	}
	// Made when it is asked for: it is long, and nobody else waits for it.
	cmd.SetHelpFunc(func(*cobra.Command, []string) { e.helpFault = e.apiHelp() })
	return cmd
}

func (e *env) apiHelp() error {
	if e.json() {
		text, err := openapi.JSON()
		if err != nil {
			return fmt.Errorf("describe the socket: %w", err)
		}
		return e.print(string(text) + "\n")
	}
	text, err := openapi.Text()
	if err != nil {
		return fmt.Errorf("describe the socket: %w", err)
	}
	return e.print(text)
}
