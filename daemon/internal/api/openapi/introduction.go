package openapi

import "github.com/stepd/stepd/daemon/internal/api"

// Introduction is what people are told of all routes, paragraph by paragraph.
func Introduction() []string {
	return []string{
		"The daemon is reached over a unix socket, " + api.DefaultSocket + " unless it is configured otherwise, with HTTP and JSON. " +
			"The command line uses nothing else, so whatever it does can be done here.",
		"Who asks is known by the credentials of the other end of the socket; there are no passwords. " +
			"The groups of the configuration give roles: reader sees everything, runner starts and controls runs, administrator changes tasks; each includes the ones before. " +
			"Whoever has no role may still run the tasks that list them as a starter. Where no groups are configured, everybody who reaches the socket is an administrator. " +
			"Administrators may act for others with the header " + api.HeaderActFor + "; the name need not be known to the machine, and gives no rights. Each act that changes something is in the audit log, refused ones too.",
		"A task is named by its name, a run by the name of its task and its number, as in backup/42; " + api.Latest + " stands for the newest run. " +
			"Requests must not have parameters or fields that are not described here; answers may get more fields in later versions.",
		"Lists come in pages: what next says is given back as after, until there is no next. A place in a list stays good while the list changes.",
		"Every change of a task counts up its version. A change that names the version it was made for is refused when the task has another one by now, and is told what has changed since.",
		"An error is an object with code, message and mostly a hint, under a status that follows from the code. " +
			"A path that does not exist is not_found, a method that the path does not have is method. " +
			"What is no HTTP at all, or has more than 16 KiB of headers, is answered by status 400 or 431 alone.",
		"A change that was answered is saved: it survives a crash of the daemon and of the machine. An answer that did not arrive may stand for a change that was made; look before you repeat it.",
	}
}
