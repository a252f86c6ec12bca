/*
 * tests/supervisor/child_table_test.c - the life of a worker: every state with every event.
 */
#include "supervisor/child.h"

#include "tests/tap.h"

static const char *const event_name[CHILD_EVENTS] = {
    [CHILD_SILENT] = "silent", [CHILD_DIED] = "died", [CHILD_DUE] = "due",
    [CHILD_REPLACE] = "replace", [CHILD_STOP] = "stop"};

static const struct {
    enum child_state state;
    enum child_event event;
    enum child_action action;
} table[] = {
    {CHILD_NONE, CHILD_SILENT, ACT_NONE},
    {CHILD_NONE, CHILD_DIED, ACT_NONE},
    {CHILD_NONE, CHILD_DUE, ACT_START},
    {CHILD_NONE, CHILD_REPLACE, ACT_NONE},
    {CHILD_NONE, CHILD_STOP, ACT_NONE},
    {CHILD_SERVING, CHILD_SILENT, ACT_KILL},
    {CHILD_SERVING, CHILD_DIED, ACT_BURY},
    {CHILD_SERVING, CHILD_DUE, ACT_NONE},
    {CHILD_SERVING, CHILD_REPLACE, ACT_LEAVE},
    {CHILD_SERVING, CHILD_STOP, ACT_DISMISS},
    {CHILD_LEAVING, CHILD_SILENT, ACT_KILL},
    {CHILD_LEAVING, CHILD_DIED, ACT_BURY},
    {CHILD_LEAVING, CHILD_DUE, ACT_NONE},
    {CHILD_LEAVING, CHILD_REPLACE, ACT_NONE}, /* told already */
    {CHILD_LEAVING, CHILD_STOP, ACT_DISMISS},
    {CHILD_DYING, CHILD_SILENT, ACT_NONE}, /* killed already */
    {CHILD_DYING, CHILD_DIED, ACT_BURY},
    {CHILD_DYING, CHILD_DUE, ACT_NONE},
    {CHILD_DYING, CHILD_REPLACE, ACT_NONE},
    {CHILD_DYING, CHILD_STOP, ACT_DISMISS},
    {CHILD_WAITING, CHILD_SILENT, ACT_NONE},
    {CHILD_WAITING, CHILD_DIED, ACT_NONE},
    {CHILD_WAITING, CHILD_DUE, ACT_START},
    {CHILD_WAITING, CHILD_REPLACE, ACT_NONE},
    {CHILD_WAITING, CHILD_STOP, ACT_FORGET},
    {CHILD_DISMISSED, CHILD_SILENT, ACT_NONE}, /* it may be slow to go */
    {CHILD_DISMISSED, CHILD_DIED, ACT_BURY_LAST},
    {CHILD_DISMISSED, CHILD_DUE, ACT_NONE},
    {CHILD_DISMISSED, CHILD_REPLACE, ACT_NONE},
    {CHILD_DISMISSED, CHILD_STOP, ACT_KILL}, /* told twice: too slow */
};

int main(void)
{
    bool seen[CHILD_STATES][CHILD_EVENTS] = {{false}};
    unsigned visited = 0;

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        is_int(child_action(table[i].state, table[i].event), table[i].action, "%s, %s",
               child_state_name(table[i].state), event_name[table[i].event]);
        visited += !seen[table[i].state][table[i].event];
        seen[table[i].state][table[i].event] = true;
    }
    is_u64(visited, CHILD_STATES * CHILD_EVENTS, "every state with every event");
    return done_testing();
}
