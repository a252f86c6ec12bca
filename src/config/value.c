/*
 * config/value.c - see value.h.
 */
#include "config/value.h"

#include "base/num.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* As much of a value as an error shows, so that what is wrong with it still fits. */
#define SHOWN "%.80s%s"
#define SHOW(text) (text), strlen(text) > 80 ? "..." : ""

#define HOST_SPACE " \t"

static bool is_word(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool parse_number(const struct option *o, const char *text, int64_t *out,
                         char why[VALUE_WHY])
{
    int rc = num_parse_i64(text, strlen(text), out);

    if (rc == -EINVAL) {
        snprintf(why, VALUE_WHY, "'" SHOWN "' is not a number", SHOW(text));
        return false;
    }
    if (rc != 0 || *out < o->min || *out > o->max) {
        snprintf(why, VALUE_WHY, SHOWN " is out of range (%" PRId64 " to %" PRId64 ")", SHOW(text),
                 o->min, o->max);
        return false;
    }
    return true;
}

static bool parse_mode(const struct option *o, const char *text, int64_t *out, char why[VALUE_WHY])
{
    int64_t mode = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '7') {
            snprintf(why, VALUE_WHY, "'" SHOWN "' is not an octal mode", SHOW(text));
            return false;
        }
        if (mode <= o->max)
            mode = mode * 8 + (*p - '0');
    }
    if (mode > o->max) {
        snprintf(why, VALUE_WHY, SHOWN " is out of range (0 to 0%" PRIo64 ")", SHOW(text), o->max);
        return false;
    }
    *out = mode;
    return true;
}

static bool parse_bool(const char *text, bool *out, char why[VALUE_WHY])
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};

    *out = is_word(text, yes, 4);
    if (*out || is_word(text, no, 4))
        return true;
    snprintf(why, VALUE_WHY, "'" SHOWN "' is not a boolean (true or false)", SHOW(text));
    return false;
}

static bool parse_text(const struct option *o, const char *text, char *out, char why[VALUE_WHY])
{
    size_t n = strlen(text);

    if (n >= o->size) {
        snprintf(why, VALUE_WHY, "'" SHOWN "' is longer than %zu bytes", SHOW(text), o->size - 1);
        return false;
    }
    memcpy(out, text, n);
    return true;
}

static bool parse_level(const char *text, enum log_level *out, char why[VALUE_WHY])
{
    for (enum log_level level = LVL_ERROR; level <= LVL_DEBUG; level++) {
        if (strcasecmp(text, log_level_name(level)) == 0) {
            *out = level;
            return true;
        }
    }
    snprintf(why, VALUE_WHY, "'" SHOWN "' is not one of error, warn, info, debug", SHOW(text));
    return false;
}

static bool parse_format(const char *text, enum log_format *out, char why[VALUE_WHY])
{
    *out = strcasecmp(text, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    if (*out == LOG_FORMAT_JSON || strcasecmp(text, "text") == 0)
        return true;
    snprintf(why, VALUE_WHY, "'" SHOWN "' is not one of text, json", SHOW(text));
    return false;
}

/* A zone ("fe80::1%eth0") is for the resolver to judge. */
static bool is_ipv6(const char *host)
{
    char address[SETTINGS_HOST_LEN];
    struct in6_addr parsed;

    snprintf(address, sizeof(address), "%s", host);
    address[strcspn(address, "%")] = '\0';
    return inet_pton(AF_INET6, address, &parsed) == 1;
}

/* Only what can neither be a name nor an address; whether it exists shows when it is bound. */
static bool is_host(const char *host, bool bracketed)
{
    if (bracketed || strchr(host, ':') != NULL)
        return is_ipv6(host);
    for (const char *p = host; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("[]/*", *p) != NULL)
            return false;
    return host[0] != '\0';
}

static bool parse_host(const char *item, size_t n, char out[SETTINGS_HOST_LEN])
{
    bool bracketed;

    while (n > 0 && strchr(HOST_SPACE, item[0]) != NULL)
        item++, n--;
    while (n > 0 && strchr(HOST_SPACE, item[n - 1]) != NULL)
        n--;
    bracketed = n >= 2 && item[0] == '[' && item[n - 1] == ']';
    if (bracketed)
        item++, n -= 2;
    if (n >= SETTINGS_HOST_LEN)
        return false;
    memcpy(out, item, n);
    out[n] = '\0';
    return is_host(out, bracketed);
}

static bool parse_hosts(const char *text, struct host_list *out, char why[VALUE_WHY])
{
    for (const char *item = text;; item++) {
        size_t n = strcspn(item, ",");

        if (out->count == SETTINGS_HOSTS) {
            snprintf(why, VALUE_WHY, "has more than %d hosts", SETTINGS_HOSTS);
            return false;
        }
        if (!parse_host(item, n, out->name[out->count])) {
            snprintf(why, VALUE_WHY, "'%.*s' is not a host name or address", n > 80 ? 80 : (int)n,
                     item);
            return false;
        }
        out->count++;
        item += n;
        if (*item == '\0')
            return true;
    }
}

static bool parse_secret(const char *text, struct secret_set *out, char why[VALUE_WHY])
{
    const char *wrong = secret_add(out, text, strlen(text));

    if (wrong == NULL)
        return true;
    snprintf(why, VALUE_WHY, "the token %s", wrong);
    return false;
}

bool value_parse(const struct option *option, const char *text, union value *out,
                 char why[VALUE_WHY])
{
    memset(out, 0, sizeof(*out));
    if (text[0] == '\0') {
        snprintf(why, VALUE_WHY, "the value is empty");
        return false;
    }
    switch (option->type) {
    case TYPE_INT:
    case TYPE_SECONDS:
    case TYPE_PORT:
        return parse_number(option, text, &out->number, why);
    case TYPE_PORT_AUTO:
        if (strcasecmp(text, "auto") != 0)
            return parse_number(option, text, &out->number, why);
        out->number = SETTINGS_PORT_AUTO;
        return true;
    case TYPE_MODE:
        return parse_mode(option, text, &out->number, why);
    case TYPE_BOOL:
    case TYPE_ACTION:
        return parse_bool(text, &out->yes, why);
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_ACTION_PATH:
        return parse_text(option, text, out->text, why);
    case TYPE_HOSTS:
        return parse_hosts(text, &out->hosts, why);
    case TYPE_LOG_LEVEL:
        return parse_level(text, &out->level, why);
    case TYPE_LOG_FORMAT:
        return parse_format(text, &out->format, why);
    case TYPE_SECRET:
        return parse_secret(text, &out->secret, why);
    }
    return false;
}

static void print_text(const char *text, FILE *to)
{
    size_t n = strlen(text);
    uint32_t code;

    for (size_t len; n > 0; text += len, n -= len) {
        char escaped[16];

        len = utf8_next(text, n, &code);
        if (code == UTF8_BAD || utf8_is_control(code))
            fwrite(escaped, 1, utf8_escape(escaped, text, len), to);
        else
            fwrite(text, 1, len, to);
    }
}

static void print_hosts(const struct host_list *hosts, FILE *to)
{
    for (unsigned i = 0; i < hosts->count; i++)
        fprintf(to, "%s%s", i > 0 ? "," : "", hosts->name[i]);
}

void value_print(const struct option *option, const void *field, FILE *to)
{
    union value value;

    /* The field may be less aligned than the union. */
    memcpy(&value, field, option->size);
    switch (option->type) {
    case TYPE_PORT_AUTO:
        if (value.number == SETTINGS_PORT_AUTO) {
            fputs("auto", to);
            break;
        }
        /* fall through */
    case TYPE_INT:
    case TYPE_SECONDS:
    case TYPE_PORT:
        fprintf(to, "%" PRId64, value.number);
        break;
    case TYPE_MODE:
        fprintf(to, "0%" PRIo64, value.number);
        break;
    case TYPE_BOOL:
    case TYPE_ACTION:
        fputs(value.yes ? "true" : "false", to);
        break;
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_ACTION_PATH:
        print_text(value.text, to);
        break;
    case TYPE_HOSTS:
        print_hosts(&value.hosts, to);
        break;
    case TYPE_LOG_LEVEL:
        fputs(log_level_name(value.level), to);
        break;
    case TYPE_LOG_FORMAT:
        fputs(value.format == LOG_FORMAT_JSON ? "json" : "text", to);
        break;
    case TYPE_SECRET:
        fputs(value.secret.count > 0 ? "(set)" : "", to);
        break;
    }
}
