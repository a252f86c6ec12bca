/*
 * proto/request.c - see request.h. Runs once for every request of every connection.
 */
#include "proto/request.h"

#include "base/num.h"

#include <string.h>

enum key_rule { KEY_NAMED, KEY_PREFIX, KEY_UNUSED };

enum field {
    FIELD_NONE,
    FIELD_TIMEOUT,
    FIELD_LIMIT,
    FIELD_LEASE,
    FIELD_TOKEN,
    FIELD_CURSOR,
    FIELD_KIND,
    FIELD_FENCE,
    FIELD_WHOLE,
    FIELD_UNREAD,
};

enum { FIELDS_MAX = 3 };

/* Text and length together fill 8 bytes, so that a word is found by comparing one integer a row. */
struct word {
    char text[7];
    uint8_t len;
};

struct command {
    struct word word;
    uint8_t verb;
    uint8_t kind;
    uint8_t key;
    uint8_t least;
    uint8_t field[FIELDS_MAX];
};

_Static_assert(sizeof(struct word) == sizeof(uint64_t), "a word is compared as one integer");

/* clang-format off */
static const struct command commands[] = {
#define COMMAND(text, verb, kind, key, least, a, b, c) \
    {{text, sizeof(text) - 1}, VERB_##verb, REQUEST_##kind, KEY_##key, least, \
     {FIELD_##a, FIELD_##b, FIELD_##c}},
#include "proto/command.def"
#undef COMMAND
};
/* clang-format on */

struct span {
    const char *at;
    size_t len;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_space(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.at[s.len - 1]))
        s.len--;
    return s;
}

static const struct command *command_find(struct span line)
{
    struct word word = {.len = (uint8_t)line.len};
    uint64_t sought, have;

    if (line.len > sizeof(word.text))
        return NULL;
    for (size_t i = 0; i < line.len; i++)
        word.text[i] = line.at[i];
    memcpy(&sought, &word, sizeof(sought));
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        memcpy(&have, &commands[i].word, sizeof(have));
        if (have == sought)
            return &commands[i];
    }
    return NULL;
}

/* Stops at one field more than any command has: that is enough to see that there are too many. */
static unsigned split(struct span line, struct span field[FIELDS_MAX + 1])
{
    const char *p = line.at, *end = line.at + line.len;
    unsigned n = 0;

    for (;;) {
        while (p < end && is_space(*p))
            p++;
        if (p == end || n > FIELDS_MAX)
            return n;
        field[n].at = p;
        while (p < end && !is_space(*p))
            p++;
        field[n].len = (size_t)(p - field[n].at);
        n++;
    }
}

static int parse_integer(struct span text, int64_t least, int64_t most, int out_of_range,
                         int64_t *out)
{
    int64_t value;

    if (num_parse_i64(text.at, text.len, &value) != 0)
        return REQUEST_ERROR_SYNTAX;
    if (value < least || value > most)
        return out_of_range;
    *out = value;
    return 0;
}

static int parse_kind(struct span text, enum request_kind *out)
{
    if (text.len == 4 && memcmp(text.at, "lock", 4) == 0)
        *out = REQUEST_LOCK;
    else if (text.len == 3 && memcmp(text.at, "sem", 3) == 0)
        *out = REQUEST_SEM;
    else
        return REQUEST_ERROR_SYNTAX;
    return 0;
}

/* Not num_parse_i64(): a fence has 64 bits without a sign. */
static int parse_fence(struct span text, uint64_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.at[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return REQUEST_ERROR_SYNTAX;
    }
    /* No grant has fence 0, and passed on it would mean "whoever holds it". */
    if (value == 0)
        return REQUEST_ERROR_SYNTAX;
    *out = value;
    return 0;
}

static int parse_field(enum field field, struct span text, struct request *out)
{
    int64_t limit;
    int error;

    switch (field) {
    case FIELD_TIMEOUT:
        return parse_integer(text, 0, SECONDS_MAX, REQUEST_ERROR_TIMEOUT, &out->timeout_s);
    case FIELD_LEASE:
        return parse_integer(text, 1, SECONDS_MAX, REQUEST_ERROR_LEASE, &out->lease_s);
    case FIELD_LIMIT:
        error = parse_integer(text, 1, REQUEST_LIMIT_MAX, REQUEST_ERROR_LIMIT, &limit);
        if (error == 0)
            out->limit = (uint32_t)limit;
        return error;
    case FIELD_TOKEN:
    case FIELD_WHOLE:
        out->token = text.at;
        out->token_len = (uint32_t)text.len;
        return 0;
    case FIELD_CURSOR:
        out->cursor = text.at;
        out->cursor_len = (uint32_t)text.len;
        return 0;
    case FIELD_KIND:
        return parse_kind(text, &out->kind);
    case FIELD_FENCE:
        return parse_fence(text, &out->fence);
    case FIELD_UNREAD:
        return 0;
    case FIELD_NONE: /* more fields than the command has */
        break;
    }
    return REQUEST_ERROR_FIELDS;
}

static int parse_arg(const struct command *cmd, struct span line, struct request *out)
{
    struct span field[FIELDS_MAX + 1];
    unsigned n, most = 0;
    int error;

    if (cmd->field[0] == FIELD_UNREAD)
        return 0;
    if (cmd->field[0] == FIELD_WHOLE) {
        line = trim(line);
        return line.len == 0 ? REQUEST_ERROR_TOKEN : parse_field(FIELD_WHOLE, line, out);
    }

    while (most < FIELDS_MAX && cmd->field[most] != FIELD_NONE)
        most++;
    n = split(line, field);
    /* An empty line where a token belongs is an empty token, for `n` as it is for `r`. */
    if (n == 0 && cmd->field[0] == FIELD_TOKEN)
        return REQUEST_ERROR_TOKEN;
    if (n < cmd->least || n > most)
        return REQUEST_ERROR_FIELDS;
    for (unsigned i = 0; i < n; i++) {
        error = parse_field(cmd->field[i], field[i], out);
        if (error != 0)
            return error;
    }
    return 0;
}

static int parse_key(const struct command *cmd, struct span line, struct request *out)
{
    if (cmd->key == KEY_UNUSED)
        return 0;
    if (!request_key_ok(line.at, line.len))
        return REQUEST_ERROR_KEY;
    out->key = line.at;
    out->key_len = (uint32_t)line.len;
    if (cmd->key == KEY_PREFIX && line.len == 1 && line.at[0] == '*')
        out->key_len = 0;
    return 0;
}

/* Clears what was read before the fault was met, so that nobody can act on half a request. */
static enum request_result reject(struct request *out, enum request_result result, int error,
                                  int line, size_t consumed)
{
    *out = (struct request){
        .verb = out->verb,
        .kind = REQUEST_ANY,
        .row = out->row,
        .command = out->command,
        .command_len = out->command_len,
        .error = error,
        .line = line,
        .consumed = consumed,
    };
    return result;
}

/* OK when all three are there: `line` without LF and trailing CRs, *cmd (NULL = unknown), *end. */
static enum request_result read_lines(const char *buf, size_t len, struct request *out,
                                      struct span line[3], const struct command **cmd, size_t *end)
{
    size_t at = 0, cap = REQUEST_LINE_MAX;

    for (int i = 0; i < 3; i++) {
        const char *start = buf + at, *lf;
        size_t left = len - at, n;

        if (i == 2 && out->verb == VERB_AUTH)
            cap = REQUEST_AUTH_MAX;
        /* One byte more than the cap: an LF there still ends a line of exactly `cap` bytes. */
        lf = left == 0 ? NULL : memchr(start, '\n', left > cap ? cap + 1 : left);
        if (lf == NULL && left > cap)
            return reject(out, REQUEST_LONG, REQUEST_ERROR_LONG, i + 1, at + cap + 1);
        if (lf == NULL) {
            out->line = i + 1;
            out->room = out->verb == VERB_AUTH ? REQUEST_AUTH_BYTES_MAX : REQUEST_BYTES_MAX;
            return REQUEST_MORE;
        }
        n = (size_t)(lf - start);
        at += n + 1;
        while (n > 0 && start[n - 1] == '\r')
            n--;
        line[i] = (struct span){start, n};
        if (i == 0) {
            out->command = start;
            out->command_len = (uint32_t)n;
            *cmd = command_find(line[0]);
            out->verb = *cmd == NULL ? VERB_NONE : (enum request_verb)(*cmd)->verb;
            out->row = *cmd == NULL ? ROW_NONE : (enum request_row)(*cmd - commands + 1);
        }
    }
    *end = at;
    return REQUEST_OK;
}

enum request_result request_parse(const char *buf, size_t len, struct request *out)
{
    const struct command *cmd = NULL;
    struct span line[3];
    enum request_result result;
    size_t end = 0;
    int error;

    *out = (struct request){.kind = REQUEST_ANY};
    result = read_lines(buf, len, out, line, &cmd, &end);
    if (result != REQUEST_OK)
        return result;
    if (cmd == NULL)
        return reject(out, REQUEST_BAD, REQUEST_ERROR_COMMAND, 1, end);
    out->kind = (enum request_kind)cmd->kind;
    out->limit = cmd->kind == REQUEST_LOCK;
    error = parse_key(cmd, line[1], out);
    if (error != 0)
        return reject(out, REQUEST_BAD, error, 2, end);
    error = parse_arg(cmd, line[2], out);
    if (error != 0)
        return reject(out, REQUEST_BAD, error, 3, end);
    out->consumed = end;
    return REQUEST_OK;
}

const char *request_row_text(enum request_row row)
{
    return row == ROW_NONE || row >= ROW_COUNT ? "unknown" : commands[row - 1].word.text;
}

size_t request_skip_line(const char *buf, size_t len, bool *found)
{
    const char *lf = len == 0 ? NULL : memchr(buf, '\n', len);

    *found = lf != NULL;
    return lf == NULL ? len : (size_t)(lf - buf) + 1;
}

bool request_key_ok(const char *key, size_t len)
{
    if (len == 0 || len > REQUEST_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = key[i];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            return false;
    }
    return true;
}

const char *request_error_text(int code)
{
    switch (code) {
    case REQUEST_ERROR_COMMAND:
        return "unknown command";
    case REQUEST_ERROR_SYNTAX:
        return "a field is not an integer, or not a known word";
    case REQUEST_ERROR_KEY:
        return "key empty or with white space";
    case REQUEST_ERROR_TIMEOUT:
        return "timeout out of range";
    case REQUEST_ERROR_TOKEN:
        return "empty token";
    case REQUEST_ERROR_FIELDS:
        return "wrong number of fields";
    case REQUEST_ERROR_LEASE:
        return "lease out of range";
    case REQUEST_ERROR_DEADLINE:
        return "read deadline passed";
    case REQUEST_ERROR_GONE:
        return "peer gone";
    case REQUEST_ERROR_LONG:
        return "line too long";
    case REQUEST_ERROR_LIMIT:
        return "limit out of range";
    default:
        return "unknown error";
    }
}
