package store_test

import (
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
)

// The composition root hands the store to the engine.
var _ engine.Tx = (*store.Tx)(nil)
