/*
 * where/where.c - see where.h.
 */
#include "where/where.h"

#include "base/num.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHERE_INDEX(id, value, name, arg, env, help) INDEX_##id,
enum { WHERE_ROWS(WHERE_INDEX) INDEX_N };
_Static_assert((int)INDEX_N == (int)WHERE_N, "where.h says how many rows there are");

struct row {
    int value;
    const char *name, *arg, *env, *help;
};

#define WHERE_ROW(id, value, name, arg, env, help) [INDEX_##id] = {value, name, arg, env, help},
static const struct row rows[WHERE_N] = {WHERE_ROWS(WHERE_ROW)};

/* A setting, and what the person calls it who made it. */
struct setting {
    const char *value; /* NULL: not made */
    char from[40];
};

bool where_take(struct where *w, int option, const char *arg)
{
    for (unsigned i = 0; i < WHERE_N; i++) {
        if (rows[i].value != option)
            continue;
        w->given[i] = arg != NULL ? arg : "1";
        return true;
    }
    return false;
}

static int refuse(struct where *w, const char *from, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct where *w, const char *from, const char *format, ...)
{
    va_list args;
    int n = snprintf(w->error, sizeof(w->error), "%s: ", from);

    va_start(args, format);
    vsnprintf(w->error + n, sizeof(w->error) - (size_t)n, format, args);
    va_end(args);
    return -1;
}

const char *where_reason(void)
{
    const char *text = dflock_error_text();
    const char *rest = strncmp(text, "dflock_", 7) == 0 ? strstr(text, ": ") : NULL;

    return rest != NULL ? rest + 2 : text;
}

static struct setting command_line(const struct where *w, unsigned i)
{
    struct setting s = {.value = w->given[i]};

    snprintf(s.from, sizeof(s.from), "--%s", rows[i].name);
    return s;
}

static struct setting look_up(const struct where *w, unsigned i)
{
    struct setting s = command_line(w, i);
    const char *value = rows[i].env != NULL && s.value == NULL ? getenv(rows[i].env) : NULL;

    if (value != NULL && value[0] != '\0') {
        s.value = value;
        snprintf(s.from, sizeof(s.from), "%s", rows[i].env);
    }
    return s;
}

/* The words that dflockd takes. */
static int parse_bool(const char *text)
{
    static const char *const words[][2] = {
        {"0", "1"}, {"false", "true"}, {"no", "yes"}, {"off", "on"}};

    for (unsigned i = 0; i < 4; i++)
        for (int value = 0; value < 2; value++)
            if (strcasecmp(text, words[i][value]) == 0)
                return value;
    return -1;
}

static int set_servers(struct where *w, dflock_options *o)
{
    struct setting s = look_up(w, INDEX_SERVERS);
    const char *path = w->given[INDEX_UNIX];
    const char *scheme = "";
    char *rest;
    size_t most = 1;

    if (path != NULL) {
        if (w->given[INDEX_SERVERS] != NULL)
            return refuse(w, "--unix",
                          "not together with --servers, whose list may have unix:%s in "
                          "it",
                          path);
        if (strchr(path, ',') != NULL)
            return refuse(w, "--unix", "%s: a path with a comma cannot be told from a list", path);
        s = command_line(w, INDEX_UNIX);
        scheme = "unix:";
    }
    if (s.value == NULL)
        s.value = "127.0.0.1:6388";
    if (asprintf(&w->list, "%s%s", scheme, s.value) < 0) {
        w->list = NULL;
        return refuse(w, s.from, "no memory");
    }
    if (dflock_options_set_servers(o, w->list) != 0)
        return refuse(w, s.from, "%s", where_reason());
    for (const char *p = w->list; *p != '\0'; p++)
        most += *p == ',';
    w->server = calloc(most, sizeof(*w->server));
    if (w->server == NULL)
        return refuse(w, s.from, "no memory");
    rest = w->list;
    for (char *item = strsep(&rest, ","); item != NULL; item = strsep(&rest, ",")) {
        item += strspn(item, " \t");
        item[strcspn(item, " \t")] = '\0';
        w->server[w->nservers++] = item;
    }
    return 0;
}

/* -1: neither the command line nor the environment says whether there is to be TLS. */
static int tls_wanted(struct where *w, int *wanted)
{
    struct setting s = look_up(w, INDEX_TLS);

    *wanted = -1;
    if (w->given[INDEX_NO_TLS] != NULL) {
        static const unsigned others[] = {INDEX_TLS,
                                          INDEX_TLS_CA_FILE,
                                          INDEX_TLS_SERVER_NAME,
                                          INDEX_TLS_CLIENT_CERT,
                                          INDEX_TLS_CLIENT_KEY,
                                          INDEX_TLS_INSECURE};

        for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            if (w->given[others[i]] != NULL)
                return refuse(w, "--no-tls", "not together with --%s", rows[others[i]].name);
        *wanted = 0;
    } else if (s.value != NULL) {
        *wanted = parse_bool(s.value);
        if (*wanted < 0)
            return refuse(w, s.from, "'%s' is not a boolean (true or false)", s.value);
    }
    return 0;
}

static int set_tls(struct where *w, dflock_options *o)
{
    int wanted;
    struct setting ca, name, cert, key;

    if (tls_wanted(w, &wanted) != 0)
        return -1;
        /* DFLOCK_TLS=0 or --no-tls: of the others only those of the command line count. */
#define LOOK_UP(i) (wanted == 0 ? command_line(w, i) : look_up(w, i))
    ca = LOOK_UP(INDEX_TLS_CA_FILE);
    name = LOOK_UP(INDEX_TLS_SERVER_NAME);
    cert = LOOK_UP(INDEX_TLS_CLIENT_CERT);
    key = LOOK_UP(INDEX_TLS_CLIENT_KEY);
#undef LOOK_UP
    if (wanted == 1 && dflock_options_set_tls(o, 1) != 0)
        return refuse(w, look_up(w, INDEX_TLS).from, "%s", where_reason());
    if (ca.value != NULL && dflock_options_set_tls_ca_file(o, ca.value) != 0)
        return refuse(w, ca.from, "%s", where_reason());
    if (name.value != NULL && dflock_options_set_tls_server_name(o, name.value) != 0)
        return refuse(w, name.from, "%s", where_reason());
    if (cert.value != NULL && key.value == NULL)
        return refuse(w, cert.from, "the private key is missing: --tls-client-key");
    if (key.value != NULL && cert.value == NULL)
        return refuse(w, key.from, "the certificate is missing: --tls-client-cert");
    if (cert.value != NULL && dflock_options_set_tls_client_cert(o, cert.value, key.value) != 0)
        return refuse(w, cert.from, "%s", where_reason());
    if (w->given[INDEX_TLS_INSECURE] != NULL && dflock_options_set_tls_insecure(o, 1) != 0)
        return refuse(w, "--tls-insecure", "%s", where_reason());
    return 0;
}

static int set_rest(struct where *w, dflock_options *o)
{
    struct setting file = look_up(w, INDEX_AUTH_TOKEN_FILE);
    struct setting timeout = look_up(w, INDEX_CONNECT_TIMEOUT);

    if (file.value != NULL && dflock_options_set_auth_token_file(o, file.value) != 0)
        return refuse(w, file.from, "%s", where_reason());
    w->connect_timeout = 10;
    if (timeout.value == NULL)
        return 0;
    if (num_parse_decimal(timeout.value, strlen(timeout.value), &w->connect_timeout) != 0)
        return refuse(w, timeout.from, "'%.80s' is not a number of seconds such as 2.5",
                      timeout.value);
    if (dflock_options_set_connect_timeout(o, w->connect_timeout) != 0)
        return refuse(w, timeout.from, "%s", where_reason());
    return 0;
}

int where_finish(struct where *w, dflock_options *o)
{
    if (set_servers(w, o) != 0 || set_tls(w, o) != 0 || set_rest(w, o) != 0)
        return -1;
    return 0;
}

void where_free(struct where *w)
{
    free(w->server);
    free(w->list);
    memset(w, 0, sizeof(*w));
}

void where_help_row(FILE *out, int value, const char *name, const char *arg, const char *help)
{
    fputs("  ", out);
    if (value < 0x1000)
        fprintf(out, "-%c, ", value);
    fprintf(out, "--%s%s%s\n      %s\n", name, arg != NULL ? " " : "", arg != NULL ? arg : "",
            help);
}

void where_help(FILE *out)
{
    fputs("\nServers:\n", out);
    for (unsigned i = 0; i < WHERE_N; i++) {
        where_help_row(out, rows[i].value, rows[i].name, rows[i].arg, rows[i].help);
        if (rows[i].env != NULL)
            fprintf(out, "      [%s]\n", rows[i].env);
    }
}
