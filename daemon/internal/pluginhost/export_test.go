package pluginhost

// Handshake is for comparing it with the SDK's.
func Handshake() (key, value, lifeline string, version, limit int) {
	return cookieKey, cookieValue, lifelineEnv, protocolVersion, maxMessage
}
