/*
 * tests/soak/history.c - see history.h.
 */
#include "history.h"

#include <string.h>

const char *const cmd_name[CMD_COUNT] = {"l", "sl", "r", "sr", "n",    "sn",
                                         "e", "se", "w", "sw", "ping", "stats"};

bool history_number(char **at, uint64_t *value)
{
    char *s = *at;

    if (*s < '0' || *s > '9')
        return false;
    *value = 0;
    while (*s >= '0' && *s <= '9')
        *value = *value * 10 + (uint64_t)(*s++ - '0');
    while (*s == ' ')
        s++;
    *at = s;
    return true;
}

static char *word(char **at)
{
    char *begin = *at, *end = strchr(begin, ' ');

    if (end) {
        *end = 0;
        *at = end + 1;
    } else {
        *at = begin + strlen(begin);
    }
    return begin;
}

bool history_parse(char *line, struct event *ev)
{
    char *at = line;
    size_t n = strlen(line);

    if (n < 3 || line[n - 1] != '\n' || line[1] != ' ')
        return false;
    line[n - 1] = 0;
    ev->what = line[0];
    at += 2;
    if (!history_number(&at, &ev->t))
        return false;
    if (ev->what == 'Z')
        return *at == 0;
    if (!history_number(&at, &ev->conn))
        return false;
    ev->text = at;
    switch (ev->what) {
    case 'H':
    case 'K':
        return history_number(&at, &ev->extra);
    case 'S': {
        const char *name = word(&at);

        ev->key = word(&at);
        ev->text = at;
        for (int i = 0; i < CMD_COUNT; i++) {
            if (strcmp(name, cmd_name[i]) == 0) {
                ev->cmd = (enum cmd)i;
                return *ev->key != 0;
            }
        }
        return false;
    }
    case 'B':
    case 'O':
    case 'C':
    case 'R':
    case 'X':
    case 'E':
    case 'P':
        return true;
    default:
        return false;
    }
}
