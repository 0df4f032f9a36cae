package openapi

// Listed are the fields of which the tables of words and objects speak.
func Listed() []string {
	names := objects()
	for name := range words() {
		names = append(names, name)
	}
	return names
}
