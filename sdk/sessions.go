package sdk

import (
	"crypto/rand"
	"io"
	"sync"
)

// sessions holds what plans keep open, until their run ends.
type sessions struct {
	mu   sync.Mutex
	open map[string]session
}

type session struct {
	run, step string
	value     io.Closer
}

// add keeps value and returns the session's name. An older session of the same
// step in the same run is closed: its plan was made again.
func (s *sessions) add(run, step string, value io.Closer) string {
	id := rand.Text()
	s.mu.Lock()
	if s.open == nil {
		s.open = map[string]session{}
	}
	old := s.take(func(other session) bool { return other.run == run && other.step == step })
	s.open[id] = session{run, step, value}
	s.mu.Unlock()
	closeSessions(old)
	return id
}

func (s *sessions) get(id string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.open[id]
	return found.value, ok
}

func (s *sessions) endRun(run string) {
	s.mu.Lock()
	ended := s.take(func(other session) bool { return other.run == run })
	s.mu.Unlock()
	closeSessions(ended)
}

func (s *sessions) closeAll() {
	s.mu.Lock()
	all := s.take(func(session) bool { return true })
	s.mu.Unlock()
	closeSessions(all)
}

// take removes those that match; the caller holds mu and closes them later, as
// Close may take its time.
func (s *sessions) take(match func(session) bool) []session {
	var taken []session
	for id, one := range s.open {
		if match(one) {
			taken = append(taken, one)
			delete(s.open, id)
		}
	}
	return taken
}

func closeSessions(list []session) {
	for _, one := range list {
		// Nobody is left who could act on the error: the run has ended.
		_ = one.value.Close()
	}
}
