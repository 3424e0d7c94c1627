CREATE TABLE audit (
	sequence INTEGER NOT NULL, 
	at INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	who TEXT NOT NULL, 
	what TEXT NOT NULL, 
	patient_key TEXT, 
	outcome TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	details BLOB, 
	previous BLOB NOT NULL, 
	hash BLOB NOT NULL, 
	PRIMARY KEY (sequence)
)
 STRICT;
CREATE TABLE destination (
	id TEXT NOT NULL, 
	max_inflight INTEGER NOT NULL, 
	on_error TEXT NOT NULL, 
	paused INTEGER NOT NULL, 
	fails INTEGER NOT NULL, 
	recent TEXT NOT NULL, 
	open_until INTEGER, 
	PRIMARY KEY (id), 
	CHECK (on_error IN ('block', 'skip'))
)
 STRICT;
CREATE TABLE disclosure (
	id TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	patient_key TEXT NOT NULL, 
	destination TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	categories TEXT NOT NULL, 
	recipient BLOB NOT NULL, 
	PRIMARY KEY (id)
)
 STRICT;
CREATE INDEX disclosure_of_patient ON disclosure (patient_key);
CREATE TABLE inbox (
	source TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	digest BLOB NOT NULL, 
	received_at INTEGER NOT NULL, 
	response BLOB NOT NULL, 
	original BLOB, 
	loss BLOB, 
	PRIMARY KEY (source, request_id)
)
 STRICT;
CREATE TABLE patient (
	patient_key TEXT NOT NULL, 
	consent_version INTEGER NOT NULL, 
	PRIMARY KEY (patient_key)
)
 WITHOUT ROWID,
 STRICT;
CREATE TABLE record (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	record_id TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	newest INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	patient_key TEXT NOT NULL, 
	source TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	received_at INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	body BLOB NOT NULL, 
	UNIQUE (record_id, version), 
	CHECK (origin IN ('local', 'peer'))
)
 STRICT;
CREATE INDEX record_by_origin ON record (origin, sequence);
CREATE INDEX record_of_patient ON record (patient_key, kind) WHERE newest = 1;
CREATE TABLE store_info (
	id INTEGER NOT NULL, 
	schema_version INTEGER NOT NULL, 
	body_check BLOB NOT NULL, 
	index_check BLOB NOT NULL, 
	PRIMARY KEY (id)
)
 STRICT;
CREATE TABLE token_seen (
	token BLOB NOT NULL, 
	expires INTEGER NOT NULL, 
	PRIMARY KEY (token)
)
 STRICT;
CREATE INDEX token_expiry ON token_seen (expires);
CREATE TABLE disclosure_ref (
	disclosure_id TEXT NOT NULL, 
	role TEXT NOT NULL, 
	record_id TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (disclosure_id, role, record_id, version), 
	CHECK (role IN ('record', 'consent')), 
	FOREIGN KEY(disclosure_id) REFERENCES disclosure (id)
)
 WITHOUT ROWID,
 STRICT;
CREATE INDEX disclosure_by_ref ON disclosure_ref (record_id, role);
CREATE TABLE lane (
	id INTEGER NOT NULL, 
	destination TEXT NOT NULL, 
	patient_key TEXT NOT NULL, 
	urgent INTEGER NOT NULL, 
	tail_seq INTEGER NOT NULL, 
	head_seq INTEGER, 
	due_at INTEGER, 
	lease_owner TEXT, 
	lease_until INTEGER, 
	leased_seq INTEGER, 
	fence INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (patient_key, destination, urgent), 
	FOREIGN KEY(destination) REFERENCES destination (id)
)
 STRICT;
CREATE INDEX lane_due ON lane (destination, urgent, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX lane_leased ON lane (destination, lease_until) WHERE lease_until IS NOT NULL;
CREATE TABLE outbox (
	id INTEGER NOT NULL, 
	lane_id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	destination TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	correlation_id TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	records TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	attempts INTEGER NOT NULL, 
	tries INTEGER NOT NULL, 
	body_digest BLOB, 
	created_at INTEGER NOT NULL, 
	queued_at INTEGER NOT NULL, 
	done_at INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (lane_id, seq), 
	UNIQUE (message_id), 
	CHECK (state IN ('queued', 'delivered', 'withheld', 'blocked', 'dead', 'discarded')), 
	FOREIGN KEY(lane_id) REFERENCES lane (id)
)
 STRICT;
CREATE INDEX outbox_by_state ON outbox (state, destination, id);
CREATE TABLE attempt (
	outbox_id INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	at INTEGER NOT NULL, 
	ended_at INTEGER, 
	status TEXT NOT NULL, 
	reason TEXT, 
	exposed TEXT NOT NULL, 
	consent_version INTEGER, 
	request_id TEXT NOT NULL, 
	body_digest BLOB, 
	explanation BLOB, 
	PRIMARY KEY (outbox_id, n), 
	CHECK (status IN ('started', 'unknown', 'delivered', 'retry', 'withheld', 'blocked', 'dead')), 
	CHECK (exposed IN ('no', 'perhaps', 'yes')), 
	FOREIGN KEY(outbox_id) REFERENCES outbox (id)
)
 STRICT;
