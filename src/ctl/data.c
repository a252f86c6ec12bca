/*
 * ctl/data.c - see data.h.
 */
#include "ctl/data.h"

#include "ctl/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Keys may have NULs in them. */
static json_t *parse(const struct dflock_reply *reply)
{
    static const char head[] = "ok ";
    size_t skip = sizeof(head) - 1;

    if (reply->len < skip || memcmp(reply->text, head, skip) != 0)
        return NULL;
    return json_loadb(reply->text + skip, reply->len - skip,
                      JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
}

static bool get_count(const json_t *object, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_seconds(const json_t *object, const char *name, double *out)
{
    const json_t *value = json_object_get(object, name);

    *out = json_number_value(value);
    return json_is_number(value) && *out >= 0;
}

/* null: "-". */
static bool get_text(const json_t *object, const char *name, char **out)
{
    const json_t *value = json_object_get(object, name);

    if (json_is_string(value))
        *out = text_clean(json_string_value(value), json_string_length(value));
    else if (json_is_null(value))
        *out = text_memory(strdup("-"));
    else
        return false;
    return true;
}

static bool get_kind(const json_t *object, bool *sem)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));

    *sem = kind != NULL && strcmp(kind, "sem") == 0;
    return *sem || (kind != NULL && strcmp(kind, "lock") == 0);
}

static bool get_cursor(const json_t *page, char cursor[DATA_CURSOR_MAX])
{
    const json_t *value = json_object_get(page, "cursor");
    const char *text = json_string_value(value);

    if (text != NULL && text[0] != '\0' && strlen(text) < DATA_CURSOR_MAX)
        strcpy(cursor, text);
    else if (json_is_null(value))
        cursor[0] = '\0';
    else
        return false;
    return true;
}

static bool read_row(struct rows *rows, const char *server, const json_t *object)
{
    struct row r = {.server = server};

    if (!get_kind(object, &r.sem) || !get_count(object, "limit", &r.limit) ||
        !get_count(object, "holders", &r.holders) || !get_count(object, "waiters", &r.waiters) ||
        !get_seconds(object, "oldest_wait_s", &r.oldest) || !get_text(object, "key", &r.key))
        return false;
    if (rows->n == rows->room) {
        rows->room = rows->room > 0 ? 2 * rows->room : 128;
        rows->at = text_memory(reallocarray(rows->at, rows->room, sizeof(*rows->at)));
    }
    rows->at[rows->n++] = r;
    return true;
}

int data_page(struct rows *rows, const char *server, const struct dflock_reply *reply,
              char cursor[DATA_CURSOR_MAX])
{
    json_t *page = parse(reply);
    const json_t *list = json_object_get(page, "resources");
    bool good = json_is_array(list) && get_cursor(page, cursor);

    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = read_row(rows, server, json_array_get(list, i));
    json_decref(page);
    return good ? 0 : -1;
}

/* Sums up one member of the objects in a list, if it has a name; counts them. */
static bool add_up(const json_t *stats, const char *list, const char *member, uint64_t *count,
                   uint64_t *sum)
{
    const json_t *array = json_object_get(stats, list);
    uint64_t value;

    for (size_t i = 0; member != NULL && i < json_array_size(array); i++) {
        if (!get_count(json_array_get(array, i), member, &value))
            return false;
        *sum += value;
    }
    *count += json_array_size(array);
    return json_is_array(array);
}

int data_stats(struct stats *s, const struct dflock_reply *reply)
{
    json_t *stats = parse(reply);
    bool good;

    memset(s, 0, sizeof(*s));
    good = get_count(stats, "connections", &s->connections) &&
           add_up(stats, "locks", "waiters", &s->locks, &s->waiters) &&
           add_up(stats, "semaphores", "waiters", &s->semaphores, &s->waiters) &&
           add_up(stats, "idle_locks", NULL, &s->idle, NULL) &&
           add_up(stats, "idle_semaphores", NULL, &s->idle, NULL);
    json_decref(stats);
    return good ? 0 : -1;
}

static bool read_holder(struct shown *s, const json_t *object)
{
    struct holder *h = &s->holder[s->holders++];

    return get_text(object, "addr", &h->addr) && get_text(object, "fence", &h->fence) &&
           get_count(object, "conn_id", &h->conn_id) && get_seconds(object, "held_s", &h->held) &&
           get_seconds(object, "lease_expires_in_s", &h->lease_left);
}

static bool read_waiter(struct shown *s, const json_t *object)
{
    struct waiter *w = &s->waiter[s->waiters++];

    return get_text(object, "addr", &w->addr) && get_count(object, "conn_id", &w->conn_id) &&
           get_seconds(object, "waiting_s", &w->waiting);
}

int data_shown(struct shown *s, const struct dflock_reply *reply)
{
    json_t *object = parse(reply);
    const json_t *holders = json_object_get(object, "holders");
    const json_t *queue = json_object_get(object, "queue");
    bool good;

    memset(s, 0, sizeof(*s));
    good = get_kind(object, &s->sem) && get_count(object, "limit", &s->limit) &&
           get_count(object, "holder_count", &s->nholders) &&
           get_count(object, "waiters", &s->nwaiters) && json_is_array(holders) &&
           json_is_array(queue);
    if (good) {
        s->holder = text_memory(calloc(json_array_size(holders) + 1, sizeof(*s->holder)));
        s->waiter = text_memory(calloc(json_array_size(queue) + 1, sizeof(*s->waiter)));
    }
    for (size_t i = 0; good && i < json_array_size(holders); i++)
        good = read_holder(s, json_array_get(holders, i));
    for (size_t i = 0; good && i < json_array_size(queue); i++)
        good = read_waiter(s, json_array_get(queue, i));
    json_decref(object);
    if (!good)
        data_free_shown(s);
    return good ? 0 : -1;
}

/* Whether `out` takes it is seen at the end, by ferror(). */
static bool copy_object(FILE *out, const char *server, json_t *object)
{
    json_t *line = text_memory(json_pack("{s:s}", "server", server));
    bool good = json_is_object(object) && json_object_update(line, object) == 0;

    if (good) {
        (void)json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(15));
        fputc('\n', out);
    }
    json_decref(line);
    return good;
}

int data_copy(FILE *out, const char *server, const struct dflock_reply *reply)
{
    json_t *object = parse(reply);
    bool good = copy_object(out, server, object);

    json_decref(object);
    return good ? 0 : -1;
}

int data_copy_page(FILE *out, const char *server, const struct dflock_reply *reply,
                   char cursor[DATA_CURSOR_MAX])
{
    json_t *page = parse(reply);
    const json_t *list = json_object_get(page, "resources");
    bool good = json_is_array(list) && get_cursor(page, cursor);

    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = copy_object(out, server, json_array_get(list, i));
    json_decref(page);
    return good ? 0 : -1;
}

void data_free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        free(rows->at[i].key);
    free(rows->at);
    memset(rows, 0, sizeof(*rows));
}

void data_free_shown(struct shown *s)
{
    for (size_t i = 0; i < s->holders; i++) {
        free(s->holder[i].addr);
        free(s->holder[i].fence);
    }
    for (size_t i = 0; i < s->waiters; i++)
        free(s->waiter[i].addr);
    free(s->holder);
    free(s->waiter);
    memset(s, 0, sizeof(*s));
}
