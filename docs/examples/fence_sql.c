/*
 * fence_sql.c - a row that refuses the late: the UPDATE carries the fence, and finds no row if a
 * greater one has been there.
 *
 * usage: fence_sql DATABASE <TEXT
 *
 * Prints:
 *     the lock is held
 *     written
 */
#include <dflock.h>
#include <err.h>
#include <sqlite3.h>
#include <stdio.h>

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        errx(2, "%s", sqlite3_errmsg(db));
}

/* How many rows were written: 1, or 0 if somebody with a greater fence was here. */
static int fenced_update(sqlite3 *db, uint64_t fence, const char *body)
{
    sqlite3_stmt *s;

    if (sqlite3_prepare_v2(db, "UPDATE doc SET body = ?1, fence = ?2 WHERE id = 1 AND fence <= ?2",
                           -1, &s, NULL) != SQLITE_OK)
        errx(2, "%s", sqlite3_errmsg(db));
    sqlite3_bind_text(s, 1, body, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)fence);
    if (sqlite3_step(s) != SQLITE_DONE)
        errx(2, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(s);
    return sqlite3_changes(db);
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    char text[4096] = "";
    sqlite3 *db;

    if (argc != 2 || sqlite3_open(argv[1], &db) != SQLITE_OK)
        errx(2, "usage: fence_sql DATABASE <TEXT");
    sqlite3_busy_timeout(db, 10000);
    run(db, "CREATE TABLE IF NOT EXISTS doc (id INTEGER PRIMARY KEY, body TEXT, fence INTEGER)");
    run(db, "INSERT OR IGNORE INTO doc VALUES (1, '', 0)");

    dflock_options_set_lease(o, 2);
    dflock_options_set_acquire_timeout(o, 60);
    dflock *l = dflock_lock_new("document", o);
    dflock_options_free(o);
    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(2, "the lock is not to be had");
    puts("the lock is held");
    fflush(stdout);

    if (fread(text, 1, sizeof(text) - 1, stdin) == 0)
        errx(2, "no text");
    int rows = fenced_update(db, dflock_fence(l), text);
    puts(rows ? "written" : "refused: somebody else has written since this lock was granted");
    dflock_release(l);
    dflock_free(l);
    sqlite3_close(db);
    return rows ? 0 : 1;
}
