/*
 * config/file.c - see file.h.
 *
 * inih reads "key = value"; the reader that it calls for each line does what inih does not: it
 * counts lines, finds out which of them were no entries, follows includes, and hands a line that is
 * longer than inih's buffer over in pieces, as inih wants a value that goes on in further lines.
 */
#include "config/file.h"

#include "base/io.h"

#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20, DEPTH_MAX = 8, INI_LINE_END = 3 };

struct source {
    const char *path;
    const struct source *includer;
    unsigned depth;
    dev_t dev;
    ino_t ino;
    struct config_report *report;
    file_take take;
    void *user;
    char *next, *end; /* of the text: lines not yet read */
    unsigned line;
    /* The line that inih has, or has the first pieces of. */
    char *rest; /* not handed over yet; NULL: no line */
    size_t left;
    char key[256]; /* "": inih saw none. Longer ones are cut: they are unknown anyway */
    char *value;   /* put together over what was handed over, and is longer */
    size_t value_len;
    bool commented;
};

static void read_source(const char *path, const char *origin, struct source *s);

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void wrong_line(const struct source *s, const char *what, const char *word)
{
    report_error(s->report, "%s:%u: %s%s", s->path, s->line, what, word);
}

static bool starts_include(const char *line)
{
    return strncmp(line, "include", 7) == 0 && is_space(line[7]) &&
           line[7 + strspn(line + 7, " \t")] != '=';
}

static int cannot_search(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

static void include(struct source *s, const char *name)
{
    const char *slash = name[0] == '/' ? NULL : strrchr(s->path, '/');
    size_t dir = slash ? (size_t)(slash - s->path) + 1 : 0;
    char *pattern = malloc(dir + strlen(name) + 1);
    char origin[REPORT_TEXT];
    glob_t found;

    snprintf(origin, sizeof(origin), "%s:%u", s->path, s->line);
    if (!pattern) {
        report_no_memory(s->report, origin, name);
        return;
    }
    memcpy(pattern, s->path, dir);
    strcpy(pattern + dir, name);
    switch (glob(pattern, GLOB_NOMAGIC, cannot_search, &found)) {
    case 0:
        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct source inner = {.includer = s, .depth = s->depth + 1, .report = s->report,
                                   .take = s->take, .user = s->user};

            read_source(found.gl_pathv[i], origin, &inner);
        }
        break;
    case GLOB_NOMATCH:
        break; /* an empty directory of additions is usual */
    case GLOB_NOSPACE:
        report_no_memory(s->report, origin, pattern);
        break;
    default:
        wrong_line(s, "cannot be searched: ", pattern);
    }
    globfree(&found);
    free(pattern);
}

/* Cuts a comment off, and white space at the ends. */
static char *trim_line(struct source *s, char *line, char *end)
{
    s->commented = false;
    while (line < end && is_space(*line))
        line++;
    for (char *p = line; p < end; p++) {
        if ((*p == '#' || *p == ';') && (p == line || is_space(p[-1]))) {
            s->commented = true;
            end = p;
        }
    }
    while (end > line && is_space(end[-1]))
        end--;
    *end = '\0';
    return line;
}

/* What inih made of the line before. */
static void finish(struct source *s)
{
    struct file_entry e = {.path = s->path, .line = s->line, .key = s->key, .value = s->value,
                           .commented = s->commented};
    char first = s->value_len > 1 ? s->value[0] : '\0';

    if (!s->rest)
        return;
    s->rest = NULL;
    if (!s->key[0])
        wrong_line(s, "this is not of the form 'key = value'", "");
    else if (strcmp(s->key, "include") == 0)
        wrong_line(s, "an include is written 'include PATH', without '='", "");
    else if ((first == '"' || first == '\'') && s->value[s->value_len - 1] == first)
        wrong_line(s, "values are written without quotes: ", s->key);
    else
        s->take(s->user, &e);
}

/* Reads on to a line that inih must see. False at the end. */
static bool next_line(struct source *s)
{
    while (s->next < s->end) {
        char *line = s->next;
        char *end = memchr(line, '\n', (size_t)(s->end - line));

        if (!end)
            end = s->end;
        s->next = end + 1;
        s->line++;
        if (memchr(line, '\0', (size_t)(end - line))) {
            wrong_line(s, "holds a NUL byte: this is not a text file", "");
            return false;
        }
        line = trim_line(s, line, end);
        if (line[0] == '[') {
            wrong_line(s, "there are no sections here, leave this line out: ", line);
        } else if (starts_include(line)) {
            include(s, line + 7 + strspn(line + 7, " \t"));
        } else if (line[0]) {
            s->rest = line;
            s->left = strlen(line);
            s->key[0] = '\0';
            s->value = line;
            s->value_len = 0;
            return true;
        }
    }
    return false;
}

/* How much of the text is the next piece: white space at its ends would be lost, and what begins
   with a comment's sign would be one. */
static size_t piece(const char *text, size_t n, size_t room)
{
    if (n <= room)
        return n;
    while (room > 0 && (is_space(text[room]) || is_space(text[room - 1]) || text[room] == '#' ||
                        text[room] == ';'))
        room--;
    return room;
}

/* inih's: as fgets(3). */
static char *read_line(char *out, int size, void *stream)
{
    struct source *s = stream;
    bool more = s->rest && s->left > 0 && s->key[0];
    size_t n;

    if (!more) {
        finish(s);
        if (!next_line(s))
            return NULL;
    }
    n = piece(s->rest, s->left, (size_t)size - INI_LINE_END - more);
    if (n == 0) {
        wrong_line(s, "this line is too long", "");
        s->rest = NULL;
        out[0] = '\0';
        return out;
    }
    out[0] = ' '; /* a line that is indented goes on with the value */
    memcpy(out + more, s->rest, n);
    out[more + n] = '\0';
    s->rest += n;
    s->left -= n;
    return out;
}

/* inih's: a key with its value, or with the next piece of it. */
static int take_piece(void *stream, const char *section, const char *name, const char *value)
{
    struct source *s = stream;
    size_t n = strlen(value);

    (void)section;
    if (!s->key[0])
        snprintf(s->key, sizeof(s->key), "%s", name);
    memcpy(s->value + s->value_len, value, n + 1);
    s->value_len += n;
    return 1;
}

static bool includes_itself(const struct source *s)
{
    for (const struct source *i = s->includer; i; i = i->includer)
        if (i->dev == s->dev && i->ino == s->ino)
            return true;
    return false;
}

static void read_source(const char *path, const char *origin, struct source *s)
{
    char *text = NULL;
    struct stat st;
    ssize_t n;

    s->path = path;
    if (stat(path, &st) < 0) {
        report_unreadable(s->report, origin, path, -errno);
        return;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    if (S_ISDIR(st.st_mode)) {
        report_error(s->report, "%s: %s: is a directory; 'include %s/*.conf' takes the files in it",
                     origin, path, path);
    } else if (includes_itself(s)) {
        report_error(s->report, "%s: %s: includes itself", origin, path);
    } else if (s->depth > DEPTH_MAX) {
        report_error(s->report, "%s: %s: files are included more than %d deep", origin, path,
                     DEPTH_MAX);
    } else if (!(text = malloc(FILE_MAX + 1))) {
        report_no_memory(s->report, origin, path);
    } else if ((n = io_read_file(path, text, FILE_MAX)) == -EFBIG) {
        report_error(s->report, "%s: %s: is larger than 1 MiB: is this the right file?", origin,
                     path);
    } else if (n < 0) {
        report_unreadable(s->report, origin, path, (int)n);
    } else {
        bool bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;

        s->next = text + (bom ? 3 : 0);
        s->end = text + n;
        ini_parse_stream(read_line, s, take_piece, s);
        finish(s);
    }
    if (text)
        explicit_bzero(text, FILE_MAX); /* a token may be in it */
    free(text);
}

void file_read(const char *path, const char *origin, struct config_report *report, file_take take,
               void *user)
{
    struct source s = {.report = report, .take = take, .user = user};

    read_source(path, origin, &s);
}
