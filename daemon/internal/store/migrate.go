package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// migration takes the schema from one version to the next. It runs in one
// transaction with all others that are missing, so it may be cut short at any
// moment without a trace. It uses keys and records as they were then: freeze
// copies of what has changed since in the migration's own file.
type migration struct {
	from  int
	name  string // also of its fixture: testdata/migration-FROM-NAME.db
	apply func(*bolt.Tx) error

	// build, where it is set, fills buckets that the schema before does not know,
	// in as many transactions as keep memory small. It comes before all apply of
	// the list, and begins anew after it was cut short.
	build func(*bolt.DB, *Options) error
}

// migrations lists them all, in order: the first one takes version 1 to 2.
func migrations() []migration {
	return []migration{
		{from: 1, name: "schedules", apply: addSchedules},
		{from: 2, name: "lists", apply: addLists, build: buildLists},
	}
}

const firstSchema = 1

// checkOrder finds a mistake in the list before it finds its way into a file.
func checkOrder(list []migration) error {
	for i, m := range list {
		if m.from != firstSchema+i || m.name == "" || m.apply == nil {
			return fmt.Errorf("migration %d (%q, from version %d) is out of place", i, m.name, m.from)
		}
	}
	return nil
}

type schemaRecord struct {
	Version int `json:"version"`
}

// readSchema refuses files of bbolt that are not ours.
func readSchema(btx *bolt.Tx, path string) (int, error) {
	var schema schemaRecord
	b := btx.Bucket([]byte(bucketNames[bucketMeta]))
	if b == nil {
		return 0, &RefusedError{Path: path, Found: "it is a bbolt database, but none of stepd"}
	}
	v := b.Get([]byte(keySchema))
	if v == nil {
		return 0, &RefusedError{Path: path, Found: "it is a bbolt database, but its schema's version is missing"}
	}
	payload, err := unseal(path, bucketMeta, []byte(keySchema), v)
	if err == nil {
		err = decode(path, bucketMeta, []byte(keySchema), payload, &schema)
	}
	if err != nil {
		return 0, &RefusedError{Path: path, Found: err.Error()}
	}
	return schema.Version, nil
}

func writeSchema(btx *bolt.Tx, version int) error {
	value, err := newEncoder().marshal(bucketMeta, key(keySchema), schemaRecord{Version: version})
	if err != nil {
		return err
	}
	return btx.Bucket([]byte(bucketNames[bucketMeta])).Put([]byte(keySchema), value)
}

// migrate brings the schema up to date and makes sure that all buckets are
// there.
func migrate(db *bolt.DB, o *Options, list []migration) error {
	if err := checkOrder(list); err != nil {
		return err
	}
	newest := firstSchema + len(list)
	var version int
	var missing error
	err := db.View(func(btx *bolt.Tx) (err error) {
		version, err = readSchema(btx, db.Path())
		missing = checkBuckets(btx)
		return err
	})
	switch {
	case err != nil:
		return err
	case version > newest:
		return &RefusedError{Path: db.Path(), Found: fmt.Sprintf(
			"it has schema %d, made by a newer stepd; this one knows schemas up to %d: install the newer stepd again", version, newest)}
	case version < firstSchema:
		return &RefusedError{Path: db.Path(), Found: fmt.Sprintf("it has schema %d, which no stepd ever wrote", version)}
	case version == newest:
		if missing != nil {
			return &RefusedError{Path: db.Path(), Found: missing.Error()}
		}
		return nil
	}
	started := time.Now()
	for _, m := range list[version-firstSchema:] {
		if m.build == nil {
			continue
		}
		o.Logger.Info("migrating the database", "from", version, "to", newest, "for", m.name)
		if err := m.build(db, o); err != nil {
			return fmt.Errorf("prepare migration %q from schema %d: %w; nothing was changed", m.name, m.from, err)
		}
	}
	err = db.Update(func(btx *bolt.Tx) error {
		for _, m := range list[version-firstSchema:] {
			if err := m.apply(btx); err != nil {
				return fmt.Errorf("migration %q from schema %d: %w; nothing was changed", m.name, m.from, err)
			}
		}
		if err := checkBuckets(btx); err != nil {
			return fmt.Errorf("after the migrations: %w; nothing was changed", err)
		}
		return writeSchema(btx, newest)
	})
	if err == nil {
		o.Logger.Info("migrated the database", "from", version, "to", newest, "took", time.Since(started).Round(time.Millisecond))
	}
	return err
}

func checkBuckets(btx *bolt.Tx) error {
	for _, name := range bucketNames {
		if btx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("its bucket %q is missing", name)
		}
	}
	return nil
}
