/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/records_store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/common/log.h"

#define VERSION 1

/* The order of the columns, of record_bind() and of record_read(). */
#define COLUMNS                                                                                 \
	"record, tunnel, local_number, remote_number, direction, call_id, started_at_usec, "    \
	"answered_at_usec, up_at_usec, ended_at_usec, end_state, ended_by, cause, sip_status, " \
	"negotiated_kbit, packets_in, bytes_in, packets_out, bytes_out, total_packets_in, "     \
	"total_bytes_in, total_packets_out, total_bytes_out"

static const char schema[] =
	"BEGIN;"
	"CREATE TABLE calls (record INTEGER PRIMARY KEY, tunnel TEXT NOT NULL, local_number TEXT "
	"NOT NULL, "
	"remote_number TEXT NOT NULL, direction INTEGER NOT NULL, call_id TEXT NOT NULL, "
	"started_at_usec INTEGER NOT NULL, answered_at_usec INTEGER NOT NULL, up_at_usec INTEGER "
	"NOT NULL, "
	"ended_at_usec INTEGER NOT NULL, end_state INTEGER NOT NULL, ended_by INTEGER NOT NULL, "
	"cause TEXT NOT NULL, sip_status INTEGER NOT NULL, negotiated_kbit INTEGER NOT NULL, "
	"packets_in INTEGER NOT NULL, bytes_in INTEGER NOT NULL, packets_out INTEGER NOT NULL, "
	"bytes_out INTEGER NOT NULL, total_packets_in INTEGER NOT NULL, total_bytes_in INTEGER NOT "
	"NULL, "
	"total_packets_out INTEGER NOT NULL, total_bytes_out INTEGER NOT NULL);"
	"CREATE INDEX calls_by_start ON calls (started_at_usec);"
	"CREATE INDEX calls_running ON calls (record) WHERE end_state = 1;"
	"CREATE TABLE holddowns (tunnel TEXT PRIMARY KEY, until_usec INTEGER NOT NULL, "
	"next_msec INTEGER NOT NULL, cause TEXT NOT NULL);"
	"PRAGMA user_version = 1;"
	"COMMIT;";

enum statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_WRITE,
	STATEMENT_WRITE_HOLDDOWN,
	STATEMENT_GET,
	STATEMENT_RUNNING,
	STATEMENT_OWN_CALLS,
	STATEMENT_HOLDDOWNS,
	STATEMENT_SELECT,
	STATEMENT_LAST,
	STATEMENT_PRUNE,
	STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_WRITE] = "INSERT OR REPLACE INTO calls (" COLUMNS
			    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, "
			    "?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
	[STATEMENT_WRITE_HOLDDOWN] = "INSERT OR REPLACE INTO holddowns (tunnel, until_usec, "
				     "next_msec, cause) VALUES (?1, ?2, ?3, ?4)",
	[STATEMENT_GET] = "SELECT " COLUMNS " FROM calls WHERE record = ?1",
	[STATEMENT_RUNNING] = "SELECT " COLUMNS " FROM calls WHERE end_state = 1 ORDER BY record",
	[STATEMENT_OWN_CALLS] = "SELECT " COLUMNS
				" FROM calls WHERE started_at_usec >= ?1 AND direction = 1 "
				"AND (call_id <> '' OR end_state = 1) ORDER BY started_at_usec",
	[STATEMENT_HOLDDOWNS] = "SELECT tunnel, until_usec, next_msec, cause FROM holddowns",
	[STATEMENT_SELECT] = "SELECT " COLUMNS " FROM calls WHERE started_at_usec >= ?1 "
			     "AND (?2 = '' OR remote_number = ?2) AND (?3 = 0 OR record < ?3) "
			     "ORDER BY record DESC LIMIT ?4",
	[STATEMENT_LAST] = "SELECT coalesce(max(record), 0) FROM calls",
	[STATEMENT_PRUNE] = "DELETE FROM calls WHERE started_at_usec < ?1 AND end_state <> 1",
};

struct records_store {
	sqlite3 *database;
	sqlite3_stmt *prepared[STATEMENT_COUNT];
	enum records_durability durability; /* of the next commit */
	char file[PATH_MAX];
	char error[PATH_MAX + 256];
};

static bool is_damage(int code)
{
	return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

/* The next open finds a free name and begins anew. */
static void set_aside(const char *file, const char *reason)
{
	static const char *const parts[] = {"", "-wal", "-shm"};
	char from[PATH_MAX], to[PATH_MAX];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(from, sizeof(from), "%.4000s%s", file, parts[i]);
		snprintf(to, sizeof(to), "%.4000s.damaged-%lld%s", file, (long long)time(NULL),
		         parts[i]);
		if (rename(from, to) != 0 && errno != ENOENT)
			log_line(LOG_ERR, "%s cannot be renamed: %s", from, strerror(errno));
		else if (i == 0)
			log_line(LOG_ERR,
			         "the call records %s cannot be used (%s): set aside as "
			         "%s, a new file is begun",
			         file, reason, to);
	}
}

/* A damaged file is set aside at once: the caller closes, and the next open begins a new one. */
static int fail(struct records_store *store)
{
	int code = sqlite3_extended_errcode(store->database);

	snprintf(store->error, sizeof(store->error), "%s: %s", store->file,
	         sqlite3_errmsg(store->database));
	if (code == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR)
		snprintf(store->error + strlen(store->error),
		         sizeof(store->error) - strlen(store->error), " (%s)",
		         strerror(sqlite3_system_errno(store->database)));
	if (is_damage(code))
		set_aside(store->file, sqlite3_errmsg(store->database));
	return -1;
}

/* Runs to the end a statement that gives no rows. */
static int run(struct records_store *store, enum statement which)
{
	sqlite3_stmt *statement = store->prepared[which];
	int code = sqlite3_step(statement);
	int result = code == SQLITE_DONE ? 0 : fail(store);

	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return result;
}

static void bind_text(sqlite3_stmt *statement, int column, const char *text)
{
	sqlite3_bind_text(statement, column, text, -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *statement, int column, uint64_t number)
{
	sqlite3_bind_int64(statement, column, (sqlite3_int64)number);
}

static void bind_traffic(sqlite3_stmt *statement, int column, const struct record_traffic *traffic)
{
	bind_number(statement, column, traffic->packets_in);
	bind_number(statement, column + 1, traffic->bytes_in);
	bind_number(statement, column + 2, traffic->packets_out);
	bind_number(statement, column + 3, traffic->bytes_out);
}

static void bind_record(sqlite3_stmt *statement, const struct record *record)
{
	bind_number(statement, 1, record->attempt);
	bind_text(statement, 2, record->tunnel);
	bind_text(statement, 3, record->local_number);
	bind_text(statement, 4, record->remote_number);
	bind_number(statement, 5, record->direction);
	bind_text(statement, 6, record->call_id);
	bind_number(statement, 7, record->started_at_usec);
	bind_number(statement, 8, record->answered_at_usec);
	bind_number(statement, 9, record->up_at_usec);
	bind_number(statement, 10, record->ended_at_usec);
	bind_number(statement, 11, record->end);
	bind_number(statement, 12, record->ended_by);
	bind_text(statement, 13, record->cause);
	bind_number(statement, 14, record->sip_status);
	bind_number(statement, 15, record->negotiated_kbit);
	bind_traffic(statement, 16, &record->traffic);
	bind_traffic(statement, 20, &record->totals);
}

static void read_text(sqlite3_stmt *row, int column, char *text, size_t size)
{
	const unsigned char *value = sqlite3_column_text(row, column);

	snprintf(text, size, "%s", value ? (const char *)value : "");
}

static uint64_t read_number(sqlite3_stmt *row, int column)
{
	return (uint64_t)sqlite3_column_int64(row, column);
}

static struct record_traffic read_traffic(sqlite3_stmt *row, int column)
{
	return (struct record_traffic){
		read_number(row, column),
		read_number(row, column + 1),
		read_number(row, column + 2),
		read_number(row, column + 3),
	};
}

static void read_record(sqlite3_stmt *row, struct record *record)
{
	*record = (struct record){
		.attempt = read_number(row, 0),
		.direction = (Vpnsip__Direction)read_number(row, 4),
		.started_at_usec = read_number(row, 6),
		.answered_at_usec = read_number(row, 7),
		.up_at_usec = read_number(row, 8),
		.ended_at_usec = read_number(row, 9),
		.end = (Vpnsip__RecordEnd)read_number(row, 10),
		.ended_by = (uint32_t)read_number(row, 11),
		.sip_status = (uint32_t)read_number(row, 13),
		.negotiated_kbit = (uint32_t)read_number(row, 14),
		.traffic = read_traffic(row, 15),
		.totals = read_traffic(row, 19),
	};
	read_text(row, 1, record->tunnel, sizeof(record->tunnel));
	read_text(row, 2, record->local_number, sizeof(record->local_number));
	read_text(row, 3, record->remote_number, sizeof(record->remote_number));
	read_text(row, 5, record->call_id, sizeof(record->call_id));
	read_text(row, 12, record->cause, sizeof(record->cause));
}

/* Gives all rows of a bound statement. The number of rows, or -1. */
static int give_rows(struct records_store *store, enum statement which, records_row_fn *give,
                     void *context)
{
	sqlite3_stmt *statement = store->prepared[which];
	struct record record;
	bool goes_on = true;
	int count = 0, code = SQLITE_DONE;

	while (goes_on && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		read_record(statement, &record);
		goes_on = give(context, &record);
		count++;
	}
	if (code != SQLITE_DONE && code != SQLITE_ROW)
		count = fail(store);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return count;
}

static int schema_version(sqlite3 *database)
{
	sqlite3_stmt *statement = NULL;
	int version = -1;

	if (sqlite3_prepare_v2(database, "PRAGMA user_version", -1, &statement, NULL) ==
	            SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return version;
}

/*
 * Exclusive: nobody else has the file open, so no memory is shared with others (a mapping that a full disk could turn into SIGBUS).
 * The cache of pages is of 256 KiB: a record is written once and read on demand.
 * 0, 1 = of another version, -1.
 */
static int prepare(struct records_store *store)
{
	static const char pragmas[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; "
				      "PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 0; "
				      "PRAGMA cache_size = -256";
	int version;

	if (sqlite3_exec(store->database, pragmas, NULL, NULL, NULL) != SQLITE_OK)
		return fail(store);
	version = schema_version(store->database);
	if (version < 0)
		return fail(store);
	if (version != 0 && version != VERSION)
		return 1;
	if (version == 0 && sqlite3_exec(store->database, schema, NULL, NULL, NULL) != SQLITE_OK)
		return fail(store);
	for (int i = 0; i < STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(store->database, statements[i], -1,
		                       SQLITE_PREPARE_PERSISTENT, &store->prepared[i],
		                       NULL) != SQLITE_OK)
			return fail(store);
	return 0;
}

static struct records_store *open_once(const char *file, int *result, char *why, size_t why_size)
{
	struct records_store *store = calloc(1, sizeof(*store));
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	*result = -1;
	if (!store) {
		snprintf(why, why_size, "%s: out of memory", file);
		return NULL;
	}
	snprintf(store->file, sizeof(store->file), "%s", file);
	*result = sqlite3_open_v2(file, &store->database, flags, NULL) == SQLITE_OK ? prepare(store)
	                                                                            : fail(store);
	if (*result == 0)
		return store;
	if (*result == 1)
		set_aside(file, "its version is another");
	snprintf(why, why_size, "%s", store->error);
	records_store_close(store);
	return NULL;
}

struct records_store *records_store_open(const char *file, char *why, size_t why_size)
{
	struct records_store *store;
	int result;

	/* The second time for the new file after a damaged one was set aside. */
	store = open_once(file, &result, why, why_size);
	return store ? store : open_once(file, &result, why, why_size);
}

void records_store_close(struct records_store *store)
{
	if (!store)
		return;
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(store->prepared[i]);
	sqlite3_close(store->database);
	free(store);
}

const char *records_store_error(const struct records_store *store)
{
	return store->error;
}

static int write_all(struct records_store *store, const struct record *const *records, size_t count,
                     const struct record_holddown *const *holddowns, size_t holddown_count)
{
	sqlite3_stmt *statement = store->prepared[STATEMENT_WRITE_HOLDDOWN];

	for (size_t i = 0; i < count; i++) {
		bind_record(store->prepared[STATEMENT_WRITE], records[i]);
		if (run(store, STATEMENT_WRITE) != 0)
			return -1;
	}
	for (size_t i = 0; i < holddown_count; i++) {
		bind_text(statement, 1, holddowns[i]->tunnel);
		bind_number(statement, 2, holddowns[i]->until_usec);
		bind_number(statement, 3, holddowns[i]->next_msec);
		bind_text(statement, 4, holddowns[i]->cause);
		if (run(store, STATEMENT_WRITE_HOLDDOWN) != 0)
			return -1;
	}
	return run(store, STATEMENT_COMMIT);
}

static int set_durability(struct records_store *store, enum records_durability durability)
{
	static const char *const pragmas[] = {
		[OUTLIVES_PROCESS] = "PRAGMA synchronous = NORMAL",
		[OUTLIVES_POWER] = "PRAGMA synchronous = FULL",
	};

	if (store->durability == durability)
		return 0;
	if (sqlite3_exec(store->database, pragmas[durability], NULL, NULL, NULL) != SQLITE_OK)
		return fail(store);
	store->durability = durability;
	return 0;
}

int records_store_write(struct records_store *store, const struct record *const *records,
                        size_t count, const struct record_holddown *const *holddowns,
                        size_t holddown_count, enum records_durability durability)
{
	if (set_durability(store, durability) != 0 || run(store, STATEMENT_BEGIN) != 0)
		return -1;
	if (write_all(store, records, count, holddowns, holddown_count) == 0)
		return 0;
	/* After some errors sqlite has rolled back by itself; the first error is the one to tell. */
	sqlite3_step(store->prepared[STATEMENT_ROLLBACK]);
	sqlite3_reset(store->prepared[STATEMENT_ROLLBACK]);
	return -1;
}

static bool keep_one(void *context, const struct record *record)
{
	*(struct record *)context = *record;
	return true;
}

int records_store_get(struct records_store *store, uint64_t attempt, struct record *record)
{
	bind_number(store->prepared[STATEMENT_GET], 1, attempt);
	return give_rows(store, STATEMENT_GET, keep_one, record);
}

int records_store_running(struct records_store *store, records_row_fn *row, void *context)
{
	return give_rows(store, STATEMENT_RUNNING, row, context) < 0 ? -1 : 0;
}

int records_store_own_calls(struct records_store *store, uint64_t since_usec, records_row_fn *row,
                            void *context)
{
	bind_number(store->prepared[STATEMENT_OWN_CALLS], 1, since_usec);
	return give_rows(store, STATEMENT_OWN_CALLS, row, context) < 0 ? -1 : 0;
}

int records_store_holddowns(struct records_store *store, records_holddown_fn *give, void *context)
{
	sqlite3_stmt *statement = store->prepared[STATEMENT_HOLDDOWNS];
	int code, result = 0;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		struct record_holddown holddown = {
			.until_usec = read_number(statement, 1),
			.next_msec = (uint32_t)read_number(statement, 2),
		};

		read_text(statement, 0, holddown.tunnel, sizeof(holddown.tunnel));
		read_text(statement, 3, holddown.cause, sizeof(holddown.cause));
		give(context, &holddown);
	}
	if (code != SQLITE_DONE)
		result = fail(store);
	sqlite3_reset(statement);
	return result;
}

int records_store_select(struct records_store *store, const Vpnsip__GetCallRecords *query,
                         uint32_t limit, records_row_fn *row, void *context)
{
	sqlite3_stmt *statement = store->prepared[STATEMENT_SELECT];

	bind_number(statement, 1, query->since_usec);
	bind_text(statement, 2, query->remote_number);
	bind_number(statement, 3, query->before_record);
	bind_number(statement, 4, (uint64_t)limit + 1);
	return give_rows(store, STATEMENT_SELECT, row, context) < 0 ? -1 : 0;
}

int records_store_last(struct records_store *store, uint64_t *attempt)
{
	sqlite3_stmt *statement = store->prepared[STATEMENT_LAST];
	int result = 0;

	if (sqlite3_step(statement) == SQLITE_ROW)
		*attempt = read_number(statement, 0);
	else
		result = fail(store);
	sqlite3_reset(statement);
	return result;
}

int records_store_prune(struct records_store *store, uint64_t before_usec)
{
	bind_number(store->prepared[STATEMENT_PRUNE], 1, before_usec);
	return run(store, STATEMENT_PRUNE);
}
