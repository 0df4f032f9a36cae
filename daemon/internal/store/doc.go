// Package store keeps tasks, runs and all that runs leave behind in one bbolt
// file. What Update acknowledged survives a crash of the process and of the
// machine; what it did not acknowledge is not there, or the store says that it
// does not know and stops for good.
//
// The package decides nothing about tasks: it neither checks transitions nor
// picks versions, and it knows no clock, no schedule and no plugin. It never
// creates, truncates or repairs a database in the place of one that it cannot
// read; that is a person's decision.
//
// # Files in the state directory
//
//	stepd.db       the database, 0600
//	stepd.db.new   a first creation that was cut short; swept at the next open
//	stepd.lock     flocked while a store is open; holds the pid of the holder
//	stepd.clean    written by Close: size, time and inode of the database then;
//	               when they still match, Open need not check all of it
//	ballast        space that is given back when the disk is full, so that the
//	               states of what is running can still be saved
//
// # Schema 3
//
// Few large buckets with composite keys, so that a run of a million steps
// costs the same a step as a run of ten. Numbers in keys are big-endian, so
// that the order of bytes is the order of numbers; be32 and be64 stand for
// their size. A name ends with 0x00, which no name contains, so a scan over
// "backup" does not meet "backup-weekly". Keys are made in keys.go only.
//
//	meta         "schema"                          {"version":1}
//	             "run_id"                          be64, the newest run id
//	             "clock_mark"                      time, see Tx.PutClockMark
//	tasks        name                              task.Task
//	summaries    name                              task.Summary, without its newest run
//	newest       name                              the newest run of that name that is no hook,
//	                                               as task.Summary has it
//	definitions  name 0x00 version:be64            task.Task as of that version
//	counters     name                              be64, the task's newest run number;
//	                                               outlives the task
//	runs         run:be64                          task.Run
//	made         run:be64 / 1024                   time time: the first and the last at which
//	                                               a run of that block of ids was made
//	run_numbers  name 0x00 number:be64             be64, the run's id
//	task_runs    name 0x00 run:be64                be64, the run's number
//	active       run:be64                          the status; queued and running runs
//	task_active  name 0x00 run:be64                the same of each task
//	ended        status 0x00 run:be64              empty; the other runs
//	task_ended   name 0x00 status 0x00 run:be64    empty; the same of each task
//	pinned       name 0x00 version:be64 run:be64   be64, the run's number; keeps the
//	                                               definition
//	steps        run:be64 top:be32 sub:be32        task.RunStep, see stepcodec.go;
//	                                               summaries and newest are in that
//	                                               form too, see summaries.go; all
//	                                               else that has a type is JSON
//	checkpoints  run:be64 top:be32 sub:be32        the controller's bytes
//	outputs      run:be64 top:be32 sub:be32 name   the controller's JSON
//	cursors      name 0x00 schedule                task.Cursor
//	due          due:time name 0x00 schedule       empty; cursors with a Due
//	slots        name 0x00 schedule 0x00 first:time  task.Slot
//
// A time in a key is a be64 too: its nanoseconds since 1970 plus 1<<63, so
// that the order of bytes is the order of times before 1970 as well. That
// reaches from 1677-09-21 to 2262-04-11. A Due beyond goes to that end of the
// index, where the order is then that of names, and a slot beyond is refused.
//
// A definition lives as long as it is one of the task's newest ten or a run is
// pinned to it; one with a version of task.PrivateVersion is no task's. What is
// newest does not go with the task: one that is made anew under that name has it.
// A run's write is that of its record alone while its status stays the same:
// newest, too, is written only when it would be another one. Slots go with their task; its cursors are deleted by whoever
// keeps them. A change of a cursor's Due is three writes: the cursor, its old
// place in due, and its new one.
//
// # Records
//
// Each value, of an index too, is a record:
//
//	version:1 byte   crc32c:be32   payload
//
// The checksum (Castagnoli) covers the version, the bucket's name, the key and
// the payload. bbolt protects only its meta pages, so this is what finds a bit
// that flipped, in a key as well, and a record in the wrong place. A value is
// at most 256 KiB.
//
// # Migrations
//
// The schema's version is 1 plus the number of migrations. Open applies those
// that are missing in one transaction, and refuses a newer schema. One that
// fills large buckets does that before, in transactions of its own: the older
// schema does not know these, so that they are no change until the last one has
// committed. Each needs a fixture in testdata; a test fails without it.
package store
