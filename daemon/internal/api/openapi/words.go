package openapi

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/api"
)

// usual says what a field means that needs no comment of its own, because it
// means the same wherever it is.
func usual(name string) string {
	return map[string]string{
		"name":             "its name",
		"number":           "its number",
		"version":          "its version",
		"status":           "where it stands",
		"controller":       "name of the controller",
		"path":             "path of its file",
		"pid":              "id of the process",
		"uid":              "id of the user",
		"gid":              "id of the group",
		"user":             "name of the user",
		"role":             "what the user may do",
		"run":              "the run that was started",
		"reason":           "why, in words",
		"error":            "what went wrong",
		"message":          "what it says",
		"summary":          "what it does, in a line",
		"code":             "a word for it",
		"time":             "when",
		"at":               "when",
		"until":            "when it ends",
		"created_at":       "when it was made",
		"updated_at":       "when it was changed last",
		"started_at":       "when it began",
		"ended_at":         "when it ended",
		"decided_at":       "when that was decided",
		"last_said_at":     "when that was said",
		"timezone":         "name of a time zone, as Europe/Berlin",
		"spec":             "the rule, as it is written",
		"data_dir":         "the daemon's state directory",
		"line":             "from 1",
		"column":           "from 1, in characters",
		"step_count":       "how many steps it has",
		"schedule_count":   "how many schedules it has",
		"outputs":          "what it left",
		"value":            "any JSON",
		"changes":          "what is different",
		"warnings":         "what is odd",
		"plugins":          "all that were found",
		"controllers":      "what it serves",
		"items":            "this part of the list",
		"secrets":          "in the order of their names",
		"runs":             "in the order in which they are carried out",
		"cancel_requested": "somebody wants it to end",
		"excluded":         "nothing is due then",
	}[name]
}

// words are those that text fields take which take no others.
func words() map[string][]string {
	return map[string][]string{
		"Task.status":       api.TaskStatuses(),
		"Task.log":          {"simple", "detailed"},
		"Run.status":        api.RunStatuses(),
		"Run.trigger":       api.Triggers(),
		"Step.status":       api.StepStatuses(),
		"Plugin.state":      {"known", "running", "refused", "broken"},
		"Controller.effect": {"idempotent", "resumable", "at_most_once"},
		"Applied.action":    {"created", "changed", "unchanged", "deleted", "conflict"},
		"Change.op":         {"added", "removed", "changed", "moved"},
		"LogLine.level":     api.LogLevels(),
		"Event.type":        {"snapshot", "run", "step", "progress"},
		"Schedule.missed":   {"once", "skip", "all"},
		"Schedule.overlap":  {"skip", "queue", "replace", "allow"},
		"Slot.outcome":      {"ran", "ran_late", "overlapped", "missed", "paused", "outside_window", "met", "unmet", "excused"},
	}
}

// objects are the fields of raw JSON that hold objects.
func objects() []string {
	return []string{"Task.settings", "TaskStep.settings", "Run.set", "StepDetail.settings", "LogLine.fields",
		"Definition.task", "SaveRequest.task", "PatchRequest.patch", "StepRequest.step"}
}

// CodeText says what a code of an error means.
func CodeText(code api.Code) string {
	switch code {
	case api.CodeInvalid:
		return "The request, or a task file in it, is faulty."
	case api.CodeNotFound:
		return "There is no such thing."
	case api.CodeExists:
		return "There is one of that name already."
	case api.CodeConflict:
		return "It was changed meanwhile; the error says what has changed since."
	case api.CodeState:
		return "It is not possible now, for the reason that the message gives."
	case api.CodeConfirm:
		return "It would do something again that must not be repeated by itself; again: true has it done."
	case api.CodeDenied:
		return "The caller may not do that."
	case api.CodeDiskFull:
		return "There is too little room in the state directory; nothing was changed."
	case api.CodeStopping:
		return "The daemon is on its way out."
	case api.CodeTooLarge:
		return "The body is larger than 1 MiB, or 8 MiB where it has task files."
	case api.CodeBusy:
		return "The daemon serves as many connections as it may."
	case api.CodeMethod:
		return "The path exists, this method of it does not."
	}
	return "The daemon hit a fault of its own; its log has the details."
}

// sentence makes one of what a comment says.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	// A name of a field or a word of the contract keeps its letters.
	if word, _, _ := strings.Cut(text, " "); !strings.ContainsAny(word, "_/.{\"") {
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "...") {
		text += "."
	}
	return text
}
