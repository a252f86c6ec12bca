/*
 * tests/core/check_test.c - the validator finds each invariant broken, by its number.
 *
 * One table with something of everything; each row breaks one thing in it by hand.
 */
#include "core/check.h"

#include "core/holder.h"
#include "core/keymap.h"
#include "core/owners.h"
#include "tests/core/gen.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

enum { SHARD = 3, OTHER = 4 };
enum { LOCK_FREE, LOCK_HELD, LOCK_PAIR, LOCK_TELL, LOCK_IDLE, LOCK_IDLE_TOO, SEM, SEM_TOMB, KEYS };

static struct bed bed;
static struct table *t;
static struct shard *s;
static uint64_t now;

/* Nodes by their part. */
static struct {
    uint32_t holder;          /* of LOCK_HELD, with a queue of three behind it */
    uint32_t waiter[3];
    uint32_t pair;            /* two-phase, granted */
    uint32_t pair_waiter;     /* two-phase, queued */
    uint32_t tell, tell_next; /* to be told, by worker 1 and 2 */
    uint32_t sem[3];
    uint32_t sem_waiter;
    uint32_t tomb;
    uint32_t kept;
    uint32_t spare; /* of LOCK_IDLE */
    uint32_t chunk, chunk_full; /* with and without a free node */
} at;

static struct node *node(uint32_t i)
{
    return table_node(t, i);
}

static uint32_t res_of(uint32_t key)
{
    struct tx tx = {.t = t, .shard = SHARD};

    return table_find(&tx, &bed.key[key].key);
}

static struct resource *res(uint32_t key)
{
    return table_resource(t, SHARD, res_of(key));
}

static struct outcome out;

static void commit(const struct op *op)
{
    struct tx tx;

    op_run(&bed, op, &tx, &out);
    tx_commit(&tx);
}

static uint32_t take(uint32_t key, uint32_t owner, bool two_phase, uint64_t lease)
{
    commit(&(struct op){.kind = OP_ACQUIRE,
                        .shard = SHARD,
                        .key = key,
                        .owner = owner,
                        .limit = key == SEM ? 3 : key == SEM_TOMB ? 90 : 1,
                        .two_phase = two_phase,
                        .lease = lease,
                        .now = now});
    return out.grant.node;
}

static void give(uint32_t key, uint32_t i)
{
    commit(&(struct op){.kind = OP_RELEASE,
                        .shard = SHARD,
                        .key = key,
                        .fence = node(i)->order,
                        .salt = node(i)->salt,
                        .now = now});
}

static void build(void)
{
    uint32_t spare[2];

    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 9});
    t = &bed.t;
    s = table_shard(t, SHARD);
    now = 50 * SECOND;
    for (uint32_t i = 0; i < KEYS; i++)
        bed_add_key(&bed, i < SEM ? KIND_LOCK : KIND_SEM, 4 + i, (uint64_t)SHARD << 58 | i);
    for (uint32_t o = 1; o <= 9; o++)
        bed_connect(&bed, o, o % 3);
    bed.words->reserved[0] = 20;

    at.tomb = take(SEM_TOMB, 9, true, SECOND); /* lapses below */
    take(SEM_TOMB, 8, false, 9 * MINUTE);
    now += 2 * SECOND;
    do
        commit(&(struct op){.kind = OP_EXPIRE, .shard = SHARD, .now = now});
    while (out.more);
    at.holder = take(LOCK_HELD, 1, false, MINUTE);
    for (uint32_t i = 0; i < 3; i++)
        at.waiter[i] = take(LOCK_HELD, 2 + i, false, MINUTE);
    at.pair = take(LOCK_PAIR, 1, true, MINUTE);
    at.pair_waiter = take(LOCK_PAIR, 2, true, MINUTE);
    spare[0] = take(LOCK_TELL, 3, false, MINUTE);
    at.tell = take(LOCK_TELL, 4, false, MINUTE);
    give(LOCK_TELL, spare[0]);
    at.sem[0] = take(SEM, 1, false, YEAR);
    spare[0] = take(SEM, 1, false, 10 * MINUTE);
    at.sem[2] = take(SEM, 6, false, 11 * MINUTE);
    at.tell_next = take(SEM, 7, false, MINUTE);
    at.sem_waiter = take(SEM, 5, false, MINUTE);
    give(SEM, spare[0]); /* to owner 7, who is told by the same worker as owner 4 */
    at.sem[1] = at.tell_next;
    at.kept = take(LOCK_FREE, 6, false, MINUTE);
    give(LOCK_FREE, at.kept);
    spare[0] = take(LOCK_IDLE, 1, false, MINUTE);
    spare[1] = take(LOCK_IDLE_TOO, 1, false, MINUTE);
    now += SECOND;
    give(LOCK_IDLE, spare[0]);
    now += SECOND;
    give(LOCK_IDLE_TOO, spare[1]);
    for (unsigned i = 0; i < 80; i++)
        at.kept = take(SEM_TOMB, i < 79 ? 8 : 5, false, 8 * MINUTE);
    /* Owner 5 is lost by the server's fault; what it waited for is gone, what it held is not. */
    do
        commit(&(struct op){
            .kind = OP_DROP_OWNER, .shard = SHARD, .owner = 5, .kept = true, .now = now});
    while (out.more);
    at.sem_waiter = take(SEM, 2, false, MINUTE);
    spare[0] = take(SEM_TOMB, 8, false, MINUTE);
    spare[1] = take(SEM_TOMB, 8, false, MINUTE);
    give(SEM_TOMB, spare[0]);
    give(SEM_TOMB, spare[1]);
    commit(&(struct op){
        .kind = OP_COLLECT, .shard = SHARD, .now = now, .time = now - 3 * SECOND / 2});
    if (res_of(LOCK_FREE) || !res_of(LOCK_IDLE))
        bail_out("LOCK_FREE was to be collected, and only that");
    take(SEM_TOMB, 8, false, MINUTE); /* the node that it kept */
    at.spare = res(LOCK_IDLE)->spare;
    at.chunk_full = (at.holder - 1) / CHUNK_NODES;
    at.chunk = (at.kept - 1) / CHUNK_NODES;
}

/* I1 … I3 */

static void over_limit(void)
{
    res(SEM)->limit = 2;
}

static void free_slot_beside_waiter(void)
{
    res(SEM)->limit = 4;
}

static void tickets_swapped(void)
{
    uint64_t ticket = node(at.waiter[0])->order;

    node(at.waiter[0])->order = node(at.waiter[1])->order;
    node(at.waiter[1])->order = ticket;
}

static void tickets_equal(void)
{
    node(at.waiter[1])->order = node(at.waiter[0])->order;
}

static void ticket_zero(void)
{
    node(at.waiter[0])->order = 0;
}

/* I4 */

static void state_unknown(void)
{
    node(at.holder)->state = 7;
}

static void holder_says_free(void)
{
    node(at.holder)->state = NODE_FREE;
}

static void holder_says_waiting(void)
{
    node(at.holder)->state = NODE_WAITING;
    node(at.holder)->order = 1;
}

static void waiter_in_no_queue(void)
{
    struct resource *r = res(LOCK_HELD);

    r->q_head = at.waiter[1];
    node(at.waiter[1])->prev = 0;
    r->nwaiters--;
}

static void holder_in_no_list(void)
{
    struct resource *r = res(SEM_TOMB);

    r->holders = node(r->holders)->next;
    node(r->holders)->prev = 0;
    r->nholders--;
}

static void queue_tail(void)
{
    res(LOCK_HELD)->q_tail = at.waiter[1];
}

static void queue_back_link(void)
{
    node(at.waiter[1])->prev = at.waiter[1];
}

static void holder_back_link(void)
{
    node(res(SEM)->holders)->prev = at.waiter[0];
}

static void waiter_of_another(void)
{
    node(at.waiter[1])->res = res_of(LOCK_PAIR);
}

static void busy_node_in_free_list(void)
{
    node(at.kept)->next = table_chunk(t, at.chunk)->free_head;
    table_chunk(t, at.chunk)->free_head = at.kept;
}

static void free_list_is_a_circle(void)
{
    uint32_t first = table_chunk(t, at.chunk)->free_head;

    node(first)->next = first;
}

static void free_node_in_no_list(void)
{
    struct chunk *ch = table_chunk(t, at.chunk);

    ch->free_head = node(ch->free_head)->next;
    ch->nfree--;
    s->nfree--;
}

static void unused_node_in_free_list(void)
{
    struct chunk *ch = table_chunk(t, at.chunk);
    uint32_t i = at.chunk * CHUNK_NODES + CHUNK_NODES;

    node(i)->next = ch->free_head;
    ch->free_head = i;
}

static void resource_says_free(void)
{
    res(LOCK_HELD)->state = RES_FREE;
}

static void spare_of_nobody(void)
{
    res(LOCK_IDLE)->spare = 0;
}

static void spare_kept_by_another(void)
{
    res(LOCK_IDLE)->spare = res(LOCK_IDLE_TOO)->spare;
}

static void spare_with_an_owner(void)
{
    node(at.spare)->owner = 1;
}

static void spare_says_held(void)
{
    node(at.spare)->state = NODE_HELD;
}

static void spare_is_none(void)
{
    res(SEM)->spare = at.sem[0];
}

/* I5 */

static void fence_from_the_future(void)
{
    node(at.holder)->order = bed.words->fence_next;
}

static void ticket_from_the_future(void)
{
    node(at.waiter[2])->order = s->ticket_next;
}

/* I6 */

static void in_the_wrong_bucket(void)
{
    res(LOCK_HELD)->hash++;
}

static void of_another_shard(void)
{
    res(LOCK_HELD)->hash ^= UINT64_C(1) << 58;
}

static void in_no_bucket(void)
{
    *keymap_bucket(t, SHARD, bed.key[LOCK_HELD].key.hash) = 0;
}

static void in_its_bucket_twice(void)
{
    res(LOCK_HELD)->next = res_of(LOCK_HELD);
}

static void live_in_the_free_list(void)
{
    s->res_free = res_of(LOCK_HELD);
}

static void free_resource_in_no_list(void)
{
    s->res_free = 0;
}

static void free_resources_in_a_circle(void)
{
    table_resource(t, SHARD, s->res_free)->next = s->res_free;
}

/* I7 */

static void owner_reused(void)
{
    t->owners[1].id += 1000;
}

static void owner_back_link(void)
{
    node(at.holder)->own_prev = at.waiter[0];
}

static void owner_list_cut(void)
{
    t->owners[8].held[SHARD] = 0;
}

static void owner_list_of_another(void)
{
    t->owners[3].held[SHARD] = t->owners[1].held[SHARD];
}

static void waiter_without_owner(void)
{
    node(at.waiter[0])->owner = 0;
}

static void kept_but_owned(void)
{
    node(at.holder)->flags |= NODE_KEPT;
}

static void two_phase_without_owner(void)
{
    node(at.kept)->flags |= NODE_TWO_PHASE;
}

/* I8 */

static void count_holders(void)
{
    res(SEM_TOMB)->nholders++;
}

static void count_waiters(void)
{
    res(LOCK_HELD)->nwaiters--;
}

static void count_tombstones(void)
{
    res(SEM_TOMB)->ntombs++;
}

static void count_tombstones_of_owner(void)
{
    t->owners[9].tombs[SHARD] = 0;
}

static void count_resources(void)
{
    s->res_count++;
}

static void count_free_of_chunk(void)
{
    table_chunk(t, at.chunk)->nfree--;
}

static void count_free(void)
{
    s->nfree++;
}

static void count_idle(void)
{
    s->nidle++;
}

static void count_held_of_shard(void)
{
    s->nheld[1]--;
}

static void count_waiting_of_shard(void)
{
    s->nwaiting[0]++;
}

static void count_chunks(void)
{
    s->nchunks++;
}

/* I9 */

static void journal_open(void)
{
    s->journal.count = 1;
}

/* I10 */

static void to_tell_but_not_pending(void)
{
    s->pending[1] = 0;
}

static void pending_but_not_to_tell(void)
{
    node(at.tell)->flags &= (uint8_t)~(NODE_TELL | NODE_BLOCKED);
}

static void blocked_holder_not_to_tell(void)
{
    node(at.holder)->flags |= NODE_BLOCKED;
}

static void to_tell_but_nobody_waits(void)
{
    node(at.tell)->flags &= (uint8_t)~NODE_BLOCKED;
}

static void pending_for_another(void)
{
    s->pending[2] = s->pending[1];
    s->pending[1] = 0;
}

static void pending_back_link(void)
{
    node(at.tell)->pend_prev = at.tell;
}

/* I11: every index */

#define OUT_OF_RANGE(name, lvalue)                                                                 \
    static void name(void)                                                                         \
    {                                                                                              \
        lvalue = UINT32_MAX;                                                                       \
    }

OUT_OF_RANGE(index_res, node(at.holder)->res)
OUT_OF_RANGE(index_owner, node(at.holder)->owner)
OUT_OF_RANGE(index_worker, t->owners[1].worker)
OUT_OF_RANGE(index_holders, res(LOCK_HELD)->holders)
OUT_OF_RANGE(index_holder_next, node(at.holder)->next)
OUT_OF_RANGE(index_queue, res(LOCK_HELD)->q_head)
OUT_OF_RANGE(index_queue_next, node(at.waiter[1])->next)
OUT_OF_RANGE(index_own, t->owners[1].held[SHARD])
OUT_OF_RANGE(index_own_next, node(at.holder)->own_next)
OUT_OF_RANGE(index_pending, s->pending[5])
OUT_OF_RANGE(index_bucket, *keymap_bucket(t, SHARD, 12))
OUT_OF_RANGE(index_token, *holder_token_bucket(t, SHARD, 3))
OUT_OF_RANGE(index_pair, *owners_pair_bucket(t, SHARD, 3, 3))
OUT_OF_RANGE(index_draining, s->wheel.draining)
OUT_OF_RANGE(index_res_free, s->res_free)
OUT_OF_RANGE(index_idle, s->idle_head)
OUT_OF_RANGE(index_bump, table_chunk(t, at.chunk)->bump)
OUT_OF_RANGE(index_res_bump, s->res_bump)
OUT_OF_RANGE(index_free, table_chunk(t, at.chunk)->free_head)
OUT_OF_RANGE(index_partial, s->partial)

static void index_wheel(void)
{
    s->wheel.slot[300] = UINT32_MAX;
    s->wheel.occupied[300 / 64] |= UINT64_C(1) << 300 % 64;
}

static void index_of_another_shard(void)
{
    res(LOCK_HELD)->holders = 1 + CHUNK_NODES * (t->geo->nchunks - 1);
}

static void field_limit(void)
{
    res(LOCK_IDLE)->limit = 0;
}

static void field_key_len(void)
{
    res(LOCK_IDLE)->key_len = KEY_MAX + 1;
}

/* I12 */

static void move_in_wheel(uint32_t i, uint32_t slot)
{
    struct wheel *w = &s->wheel;
    struct node *n = node(i);
    uint32_t from = n->tw_slot - 1u;

    if (n->tw_prev)
        node(n->tw_prev)->tw_next = n->tw_next;
    else
        w->slot[from] = n->tw_next;
    if (n->tw_next)
        node(n->tw_next)->tw_prev = n->tw_prev;
    if (!w->slot[from])
        w->occupied[from / 64] &= ~(UINT64_C(1) << from % 64);
    n->tw_slot = (uint16_t)(slot + 1);
    n->tw_prev = 0;
    n->tw_next = w->slot[slot];
    if (n->tw_next)
        node(n->tw_next)->tw_prev = i;
    w->slot[slot] = i;
    w->occupied[slot / 64] |= UINT64_C(1) << slot % 64;
}

static void wheel_bit_missing(void)
{
    s->wheel.occupied[(node(at.holder)->tw_slot - 1) / 64] = 0;
}

static void wheel_bit_too_many(void)
{
    s->wheel.occupied[6] |= 1;
}

static void wheel_slot_of_a_node(void)
{
    node(at.holder)->tw_slot++;
}

static void wheel_back_link(void)
{
    node(at.holder)->tw_prev = at.holder;
}

static void wheel_holder_missing(void)
{
    uint32_t slot = node(at.sem[0])->tw_slot - 1u;

    s->wheel.slot[slot] = 0;
    s->wheel.occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

static void wheel_slot_of_a_waiter(void)
{
    node(at.waiter[0])->tw_slot = 1;
}

static void wheel_spare_missing(void)
{
    uint32_t slot = node(at.spare)->tw_slot - 1u;
    struct node *n = node(at.spare);

    if (n->tw_next)
        node(n->tw_next)->tw_prev = n->tw_prev;
    if (n->tw_prev)
        node(n->tw_prev)->tw_next = n->tw_next;
    else
        s->wheel.slot[slot] = n->tw_next;
    if (!s->wheel.slot[slot])
        s->wheel.occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

static void wheel_too_late(void)
{
    move_in_wheel(at.holder, 5 * 64 + 60);
}

static void wheel_passed(void)
{
    s->wheel.now += UINT64_C(1) << 40;
}

static void wheel_due_too_late(void)
{
    t->next_due[SHARD] = TIME_NEVER;
}

static void wheel_drains_too_soon(void)
{
    s->wheel.draining = 7 * 64 + 60;
}

/* I13 */

static void token_missing(void)
{
    uint32_t *link = holder_token_bucket(t, SHARD, node(at.sem[0])->order);

    while (*link != at.sem[0])
        link = &node(*link)->tok_next;
    *link = node(*link)->tok_next;
}

static void token_in_the_wrong_bucket(void)
{
    uint32_t *bucket = holder_token_bucket(t, SHARD, node(at.sem[0])->order + 1);

    token_missing();
    node(at.sem[0])->tok_next = *bucket;
    *bucket = at.sem[0];
}

static void token_of_a_lock(void)
{
    uint32_t *bucket = holder_token_bucket(t, SHARD, node(at.holder)->order);

    node(at.holder)->tok_next = *bucket;
    *bucket = at.holder;
}

static void tokens_in_a_circle(void)
{
    node(at.sem[0])->tok_next = at.sem[0];
}

static void pair_missing(void)
{
    *owners_pair_bucket(t, SHARD, node(at.pair)->conn_id, node(at.pair)->res) = 0;
}

static void pair_of_no_two_phase(void)
{
    node(at.pair)->flags &= (uint8_t)~NODE_TWO_PHASE;
}

static void pair_in_the_wrong_bucket(void)
{
    pair_missing();
    for (uint64_t id = 1;; id++) {
        uint32_t *bucket = owners_pair_bucket(t, SHARD, id, 1);

        if (*bucket == 0 &&
            bucket != owners_pair_bucket(t, SHARD, node(at.pair)->conn_id, node(at.pair)->res)) {
            *bucket = at.pair;
            return;
        }
    }
}

/* I14 */

static void idle_says_live(void)
{
    res(LOCK_IDLE)->state = RES_LIVE;
}

static void busy_says_idle(void)
{
    res(LOCK_HELD)->state = RES_IDLE;
}

static void idle_out_of_order(void)
{
    res(LOCK_IDLE_TOO)->last_active = 1;
}

static void idle_cut(void)
{
    res(LOCK_IDLE)->idle_next = 0;
    s->idle_tail = res_of(LOCK_IDLE);
}

static void idle_back_link(void)
{
    res(LOCK_IDLE_TOO)->idle_prev = 0;
}

static void idle_tail(void)
{
    s->idle_tail = res_of(LOCK_IDLE);
}

static void idle_oldest(void)
{
    s->idle_oldest--;
}

/* I15 */

static void chunk_not_linked(void)
{
    table_chunk(t, at.chunk)->linked = 0;
}

static void chunk_not_on_partial_list(void)
{
    s->partial = 0;
}

static void full_chunk_on_partial_list(void)
{
    table_chunk(t, at.chunk_full)->prev = 0;
    table_chunk(t, at.chunk_full)->next = s->partial;
    s->partial = at.chunk_full + 1;
}

static void partial_back_link(void)
{
    table_chunk(t, at.chunk)->prev = at.chunk_full + 1;
}

#define ROW(number, function) {number, #function, function}

static const struct {
    int number;
    const char *name;
    void (*damage)(void);
} rows[] = {
    ROW(1, over_limit),
    ROW(2, free_slot_beside_waiter),
    ROW(3, tickets_swapped),
    ROW(3, tickets_equal),
    ROW(3, ticket_zero),
    ROW(4, state_unknown),
    ROW(4, holder_says_free),
    ROW(4, holder_says_waiting),
    ROW(4, waiter_in_no_queue),
    ROW(4, holder_in_no_list),
    ROW(4, queue_tail),
    ROW(4, queue_back_link),
    ROW(4, holder_back_link),
    ROW(4, waiter_of_another),
    ROW(4, busy_node_in_free_list),
    ROW(4, free_list_is_a_circle),
    ROW(4, free_node_in_no_list),
    ROW(4, unused_node_in_free_list),
    ROW(4, resource_says_free),
    ROW(4, spare_of_nobody),
    ROW(4, spare_kept_by_another),
    ROW(4, spare_with_an_owner),
    ROW(4, spare_says_held),
    ROW(4, spare_is_none),
    ROW(5, fence_from_the_future),
    ROW(5, ticket_from_the_future),
    ROW(6, in_the_wrong_bucket),
    ROW(6, of_another_shard),
    ROW(6, in_no_bucket),
    ROW(6, in_its_bucket_twice),
    ROW(6, live_in_the_free_list),
    ROW(6, free_resource_in_no_list),
    ROW(6, free_resources_in_a_circle),
    ROW(7, owner_reused),
    ROW(7, owner_back_link),
    ROW(7, owner_list_cut),
    ROW(7, owner_list_of_another),
    ROW(7, waiter_without_owner),
    ROW(7, kept_but_owned),
    ROW(7, two_phase_without_owner),
    ROW(8, count_holders),
    ROW(8, count_waiters),
    ROW(8, count_tombstones),
    ROW(8, count_tombstones_of_owner),
    ROW(8, count_resources),
    ROW(8, count_free_of_chunk),
    ROW(8, count_free),
    ROW(8, count_chunks),
    ROW(8, count_idle),
    ROW(8, count_held_of_shard),
    ROW(8, count_waiting_of_shard),
    ROW(9, journal_open),
    ROW(10, to_tell_but_not_pending),
    ROW(10, pending_but_not_to_tell),
    ROW(10, blocked_holder_not_to_tell),
    ROW(10, to_tell_but_nobody_waits),
    ROW(10, pending_for_another),
    ROW(10, pending_back_link),
    ROW(11, index_res),
    ROW(11, index_owner),
    ROW(11, index_worker),
    ROW(11, index_holders),
    ROW(11, index_holder_next),
    ROW(11, index_queue),
    ROW(11, index_queue_next),
    ROW(11, index_own),
    ROW(11, index_own_next),
    ROW(11, index_pending),
    ROW(11, index_bucket),
    ROW(11, index_token),
    ROW(11, index_pair),
    ROW(11, index_wheel),
    ROW(11, index_draining),
    ROW(11, index_res_free),
    ROW(11, index_idle),
    ROW(11, index_bump),
    ROW(11, index_res_bump),
    ROW(11, index_free),
    ROW(11, index_partial),
    ROW(11, index_of_another_shard),
    ROW(11, field_limit),
    ROW(11, field_key_len),
    ROW(12, wheel_bit_missing),
    ROW(12, wheel_bit_too_many),
    ROW(12, wheel_slot_of_a_node),
    ROW(12, wheel_back_link),
    ROW(12, wheel_holder_missing),
    ROW(12, wheel_spare_missing),
    ROW(12, wheel_slot_of_a_waiter),
    ROW(12, wheel_too_late),
    ROW(12, wheel_passed),
    ROW(12, wheel_due_too_late),
    ROW(12, wheel_drains_too_soon),
    ROW(13, token_missing),
    ROW(13, token_in_the_wrong_bucket),
    ROW(13, token_of_a_lock),
    ROW(13, tokens_in_a_circle),
    ROW(13, pair_missing),
    ROW(13, pair_of_no_two_phase),
    ROW(13, pair_in_the_wrong_bucket),
    ROW(14, idle_says_live),
    ROW(14, busy_says_idle),
    ROW(14, idle_out_of_order),
    ROW(14, idle_cut),
    ROW(14, idle_back_link),
    ROW(14, idle_tail),
    ROW(14, idle_oldest),
    ROW(15, chunk_not_linked),
    ROW(15, chunk_not_on_partial_list),
    ROW(15, full_chunk_on_partial_list),
    ROW(15, partial_back_link),
};

int main(void)
{
    struct check_report report;
    bool number_seen[16] = {false};
    char *whole;

    build();
    is_int(check_shard(t, SHARD, &report), 0, "the table is in order");
    is_str(report.what, "ok", "and the report says so");
    if (report.invariant)
        diag("I%d at %u: %s", report.invariant, report.index, report.what);
    whole = malloc(bed.size);
    memcpy(whole, bed.block, bed.size);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rows[i].damage();
        if (!is_int(check_shard(t, SHARD, &report), rows[i].number, "I%d: %s", rows[i].number,
                    rows[i].name))
            diag("I%d at %u: %s", report.invariant, report.index, report.what);
        number_seen[rows[i].number] = true;
        if (report.invariant != rows[i].number || !report.what)
            ok(false, "the report has the number");
        is_int(check_shard(t, OTHER, &report), 0, "another shard is not concerned");
        memcpy(bed.block, whole, bed.size);
    }
    for (int i = 1; i <= 15; i++)
        if (!number_seen[i])
            ok(false, "I%d is never broken", i);
    free(whole);
    bed_free(&bed);
    return done_testing();
}
